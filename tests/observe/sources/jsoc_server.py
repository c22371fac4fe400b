"""A server on this machine that answers `drms` as JSOC does, from a folder of frames; with faults to order.

    with jsoc_server(folder, faults=Faults(pending=2)) as server:
      JsocSettings(server=server.url, email='anyone@example.org')

It speaks as jsoc_info, jsoc_fetch and checkAddress.sh do (https://github.com/lm-jps/drms, base/export/apps), and gives
the same id to the same export.
"""

import collections
import contextlib
import dataclasses
import http.server
import json
import pathlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, unquote_plus, urlsplit

from astropy.time import Time

from tests.observe.sources.im_patch import exported, image_of

NO_DATA = 0x80000000
KEYWORDS = {'T_REC': 'time', 'T_OBS': 'time', 'QUALITY': 'int', 'CAMERA': 'int'}


@dataclasses.dataclass
class Faults:
  """What goes wrong. Numbers count down with each time.

  Attributes:
    refused: Connections that are closed without an answer.
    slow: Answers that take `slow_s` [s].
    slow_s: How long these take [s].
    garbled: Answers that are no JSON.
    queue_full: Requests for an export that are turned down, since too many are in work.
    pending: Polls that find an export, each one, still in work.
    unknown: Polls that find no trace of an export.
    failed: Exports that fail.
    partial: Exports that lack their last file.
    truncated: Files of which half is sent.
    short: Files of which half is there.
    damaged: Files with a wrong byte among their pixels.
    gone: Files that are no longer there.
    registered: Addresses that may ask; all for None.
  """

  refused: int = 0
  slow: int = 0
  slow_s: float = 0.0
  garbled: int = 0
  queue_full: int = 0
  pending: int = 0
  unknown: int = 0
  failed: int = 0
  partial: int = 0
  truncated: int = 0
  short: int = 0
  damaged: int = 0
  gone: int = 0
  registered: tuple[str, ...] | None = None

  def take(self, name: str) -> bool:
    """Says whether a fault is due, and counts it."""
    left = getattr(self, name)
    setattr(self, name, max(left - 1, 0))
    return left > 0


@dataclasses.dataclass(frozen=True)
class ServedFrame:
  """A frame of the folder: its file, T_REC [s of TAI since MJD 0], T_REC and T_OBS as JSOC writes them, QUALITY."""

  path: pathlib.Path
  seconds: int
  t_rec: str
  t_obs: str
  quality: int


@dataclasses.dataclass
class ServedExport:
  """An export: what was asked, its frames, the process that makes them, the form of their names, and its faults."""

  ds: str
  frames: list[ServedFrame]
  process: dict[str, str]
  name: str
  pending: int
  is_failed: bool
  is_partial: bool


class JsocServer:
  """The server.

  Attributes:
    faults: What goes wrong next.
    counts: Kind of request -> how many there were: series_struct, rs_list, exp_request, exp_status, check_address,
      download, refused.
    downloads: Name of file -> how often it was asked for.
    exports: Id -> export.
    queries: What was asked: the arguments of each request for an export.
    on_request: Called with the kind of each request before it is answered.
  """

  def __init__(self, folder: pathlib.Path, faults: Faults, series: str, cadence_s: float) -> None:
    self.faults, self.series, self.cadence_s = faults, series, cadence_s
    self.frames = sorted((_served(path, cadence_s) for path in folder.rglob('*.fits')), key=lambda one: one.seconds)
    self.counts: collections.Counter = collections.Counter()
    self.downloads: collections.Counter = collections.Counter()
    self.exports: dict[str, ServedExport] = {}
    self.queries: list[dict[str, str]] = []
    self.on_request: Callable[[str], None] = lambda kind: None
    self.lock = threading.Lock()
    self._port = 0
    self.start()

  @property
  def url(self) -> str:
    """Its address."""
    return f'http://127.0.0.1:{self._port}'

  def start(self) -> None:
    """Starts it, at the same address as before; it remembers its exports."""
    handler = type('Handler', (_Handler,), {'jsoc': self})
    self._http = http.server.ThreadingHTTPServer(('127.0.0.1', self._port), handler)
    self._port = self._http.server_address[1]
    self._thread = threading.Thread(target=self._http.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
    self._thread.start()

  def stop(self) -> None:
    """Stops it: connections are refused."""
    self._http.shutdown()
    self._thread.join()
    self._http.server_close()

  # --- What it answers ----------------------------------------------------------------------------------------------

  def answer(self, kind: str, query: dict[str, str]) -> dict:
    """Returns the answer to a request, as JSON would hold it."""
    return getattr(self, f'_{kind}')(query)

  def _check_address(self, query: dict[str, str]) -> dict:
    registered = self._is_registered(unquote_plus(query['address']))
    return {'status': 2 if registered else 4, 'msg': 'Email address is valid' if registered else 'not registered'}

  def _is_registered(self, address: str) -> bool:
    return self.faults.registered is None or address in self.faults.registered

  def _series_struct(self, query: dict[str, str]) -> dict:
    if query['ds'].lower() != self.series.lower():
      return {'status': 1, 'error': f'Series {query["ds"]} not found'}
    keywords = [
      {'name': name, 'type': kind, 'recscope': 'variable', 'defval': '', 'units': '', 'note': ''}
      for name, kind in KEYWORDS.items()
    ]
    segment = {'name': 'magnetogram', 'type': 'int', 'units': 'Gauss', 'protocol': 'fits', 'dims': '4096x4096'}
    return {
      'status': 0,
      'note': 'magnetograms',
      'primekeys': ['T_REC', 'CAMERA'],
      'dbindex': ['T_REC_index'],
      'keywords': keywords,
      'links': [],
      'segments': [segment],
    }

  def _rs_list(self, query: dict[str, str]) -> dict:
    found = self._select(query['ds'])
    columns = {
      'T_REC': [one.t_rec for one in found],
      'T_OBS': [one.t_obs for one in found],
      'QUALITY': [f'0x{one.quality:08x}' for one in found],
      'CAMERA': ['3'] * len(found),
    }
    names = query['key'].split(',')
    return {
      'status': 0,
      'count': len(found),
      'keywords': [{'name': name, 'values': columns[name]} for name in names] if found else [],
    }

  def _exp_request(self, query: dict[str, str]) -> dict:
    self.queries.append(query)
    if not self._is_registered(query['notify']):
      return {'status': 4, 'error': f'Email address {query["notify"]} is not registered.'}
    if self.faults.take('queue_full'):
      return {'status': 7, 'error': f'User {query["notify"]} has 1 pending export requests'}
    steps = query['process=n'].split('|')[1:]
    options = dict(step.split('=') for step in steps[0].split(',')[1:]) if steps else {}
    with self.lock:
      for export_id, export in self.exports.items():
        if (export.ds, export.process) == (query['ds'], options) and not export.is_failed:
          return _in_work(export_id)
      export_id = f'JSOC_20110214_{len(self.exports) + 1:04d}'
      self.exports[export_id] = ServedExport(
        query['ds'],
        self._select(query['ds']),
        options,
        query['filenamefmt'],
        self.faults.pending,
        self.faults.take('failed'),
        self.faults.take('partial'),
      )
    return _in_work(export_id)

  def _exp_status(self, query: dict[str, str]) -> dict:
    export_id = query['requestid']
    if export_id not in self.exports or self.faults.take('unknown'):
      return {'status': 6, 'requestid': export_id, 'error': 'Request not found'}
    export = self.exports[export_id]
    if export.pending:
      export.pending -= 1
      return _in_work(export_id)
    if export.is_failed:
      return {'status': 4, 'requestid': export_id, 'error': 'Export processing failed'}
    frames = [one for one in export.frames if not one.quality & NO_DATA]
    series = self.series.lower() + ('_mod' if export.process else '')
    data = [{'record': f'{series}[{one.t_rec}][3]', 'filename': _file_name(export, one)} for one in frames]
    return {
      'status': 0,
      'requestid': export_id,
      'method': 'url',
      'protocol': 'fits',
      'dir': f'/SUM1/{export_id}/S00000',
      'count': len(data),
      'size': 1,
      'data': data[: len(data) - export.is_partial],
    }

  def file(self, export_id: str, name: str) -> bytes | None:
    """Returns a file of an export, None where it is no longer there."""
    export = self.exports[export_id]
    frame = next(one for one in export.frames if _file_name(export, one) == name)
    return None if self.faults.take('gone') else exported(frame.path, export.process)

  def _select(self, ds: str) -> list[ServedFrame]:
    """Returns the frames that a query names: `series[first-last@step,single]{segment}`."""
    series, selection = re.fullmatch(r'([\w.]+)\[([^\]]*)\](?:\{magnetogram\})?', ds).groups()
    found = []
    for part in selection.split(',') if series.lower() == self.series.lower() else ():
      span, _, step = part.partition('@')
      times = [_seconds(one) for one in span.split('-')]
      # Slots that do not hold a frame count, too; the first one is that of the begin.
      first = self.cadence_s * -(-times[0] // self.cadence_s)
      step_s = float(step.rstrip('s') or self.cadence_s)
      within = [one for one in self.frames if first <= one.seconds <= times[-1]]
      found += [one for one in within if (one.seconds - first) % step_s == 0]
    return found


def _in_work(export_id: str) -> dict:
  return {'status': 2, 'requestid': export_id, 'method': 'url', 'protocol': 'fits', 'wait': 10, 'size': 1}


def _file_name(export: ServedExport, frame: ServedFrame) -> str:
  name = export.name.replace('{T_REC:A}', re.sub('[.:]', '', frame.t_rec))
  return name.replace('{CAMERA}', '3').replace('{segment}', 'magnetogram') + '.fits'


def _seconds(text: str) -> int:
  """Returns seconds of TAI since MJD 0 of a time as JSOC writes it."""
  clock = re.fullmatch(r'(\d{4})\.(\d\d)\.(\d\d)_(.*)_TAI', text).groups()
  return round(Time('{}-{}-{}T{}'.format(*clock), scale='tai').mjd * 86400)


def _served(path: pathlib.Path, cadence_s: float) -> ServedFrame:
  header = image_of(path)[1]
  middle = header.get('T_OBS')
  if middle is None:  # The nominal time is that of a slot of the series.
    middle = Time(header['DATE-OBS'], scale='utc').tai.strftime('%Y.%m.%d_%H:%M:%S_TAI')
  slot = header.get('T_REC')
  seconds = round(_seconds(middle) / cadence_s) * cadence_s if slot is None else _seconds(slot)
  t_rec = Time(seconds / 86400, format='mjd', scale='tai').strftime('%Y.%m.%d_%H:%M:%S_TAI')
  return ServedFrame(path, round(seconds), t_rec, middle, header.get('QUALITY', 0) & 0xFFFFFFFF)


class _Handler(http.server.BaseHTTPRequestHandler):
  jsoc: JsocServer

  def do_GET(self) -> None:
    jsoc = self.jsoc
    place = urlsplit(self.path)
    query = {key: values[0] for key, values in parse_qs(place.query, keep_blank_values=True).items()}
    kind = {'checkAddress.sh': 'check_address'}.get(place.path.rpartition('/')[2], query.get('op', 'download'))
    with jsoc.lock:
      is_refused = jsoc.faults.take('refused')
      jsoc.counts['refused' if is_refused else kind] += 1
      wait_s = jsoc.faults.slow_s if jsoc.faults.take('slow') else 0.0
    if is_refused:
      return
    jsoc.on_request(kind)
    time.sleep(wait_s)
    with contextlib.suppress(ConnectionError):  # Whoever asked has lost his patience.
      self._send_file(place.path) if kind == 'download' else self._send_json(jsoc.answer(kind, query))

  def _send_json(self, answer: dict) -> None:
    is_garbled = self.jsoc.faults.take('garbled')
    self._send(b'<html>Internal error</html>' if is_garbled else json.dumps(answer).encode('latin1'))

  def _send_file(self, path: str) -> None:
    faults = self.jsoc.faults
    _, _, export_id, _, name = path.split('/')
    self.jsoc.downloads[name] += 1
    content = self.jsoc.file(export_id, name)
    if content is None:
      self.send_error(404)
      return
    if faults.take('damaged'):
      content = content[:-3000] + bytes([content[-3000] ^ 1]) + content[-2999:]
    if faults.take('short'):
      content = content[: len(content) // 2]
    self._send(content, len(content) // 2 if faults.take('truncated') else len(content))

  def _send(self, content: bytes, sent: int | None = None) -> None:
    self.send_response(200)
    self.send_header('Content-Length', str(len(content)))
    self.end_headers()
    self.wfile.write(content[:sent])

  def log_message(self, *_) -> None:
    pass


@contextlib.contextmanager
def jsoc_server(
  folder: pathlib.Path, faults: Faults | None = None, series: str = 'hmi.M_720s', cadence_s: float = 720.0
) -> Iterator[JsocServer]:
  """Runs a server that offers the frames of a folder as a series.

  Args:
    folder: FITS frames with T_REC (or only T_OBS or DATE-OBS), QUALITY, and the place of the disk in the keywords of
      HMI.
    faults: What goes wrong.
    series: Name of the series.
    cadence_s: Time between its frames [s].
  """
  server = JsocServer(pathlib.Path(folder), faults or Faults(), series, cadence_s)
  try:
    yield server
  finally:
    server.stop()
