"""Talking with JSOC through `drms`: what there is, exports, their files; patient, and each refusal one sentence.

JSOC makes an export on demand: it is asked, answers with an id, and has the files ready minutes or hours later. The
numbers by which it tells how far it is: 0 ready, 1 and 2 in work, 3 too large, 4 failed, 6 not (yet) known, 7 too many
of the same user are in work (drms, and jsoc_fetch.c of https://github.com/lm-jps/drms).
"""

import functools
import http.client
import os
import pathlib
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import drms

from hearjax.checks import UserError
from hearjax.files import write_whole
from hearjax.observe.sources.fits_sums import damage
from hearjax.observe.sources.jsoc_names import Record, jsoc_time, read_record, slot_of
from hearjax.observe.sources.jsoc_settings import EMAIL_VARIABLE, JsocSettings

REGISTRATION = 'http://jsoc.stanford.edu/ajax/register_email.html'
READY, IN_WORK, NOT_KNOWN, QUEUE_FULL = 0, (1, 2), 6, 7
MOST_NOT_KNOWN = 5  # Polls that may find no trace of an export: a new one takes a moment to appear.
PAUSE_GROWTH = 1.5
BLOCK_BYTES = 2**20
QUERY_MARGIN_DAYS = 0.01  # T_REC is within a cadence of the middle of the observation.
# What a connection that breaks raises, and what drms does where an answer is no JSON, or another one.
_BROKEN = (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, AttributeError)

Result = TypeVar('Result')


class ExportFailed(OSError):
  """JSOC could not make an export, or has it no longer."""


class Gone(Exception):
  """JSOC has a file no longer."""


class _Interrupted(Exception):
  """A download that did not come to its end; no OSError, which would be one of the disk."""


class Service:
  """JSOC, or whatever answers as JSOC does."""

  def __init__(self, settings: JsocSettings) -> None:
    self.settings = settings
    base = settings.server.rstrip('/')
    # The entries of JSOC in drms, at another address.
    config = drms.ServerConfig(
      name='JSOC',
      cgi_baseurl=f'{base}/cgi-bin/ajax/',
      cgi_show_series='show_series',
      cgi_jsoc_info='jsoc_info',
      cgi_jsoc_fetch='jsoc_fetch',
      cgi_check_address='checkAddress.sh',
      http_download_baseurl=f'{base}/',
    )
    self._client = drms.Client(config)

  def records(self, start_mjd: float, end_mjd: float) -> list[Record]:
    """Returns what the series has between two times (MJD, UTC), by the middle of the observations, good or bad.

    Raises:
      UserError: There is no such series, or it has nothing then.
      ConnectionError: JSOC cannot be reached.
    """
    self._check_series()
    first = jsoc_time(start_mjd - QUERY_MARGIN_DAYS, self.settings.cadence_s)
    query = f'{self.settings.series}[{first}-{jsoc_time(end_mjd + QUERY_MARGIN_DAYS)}{self.step}]'
    keys = ['T_REC', 'T_OBS', 'QUALITY']
    try:
      # Numbers stay text: drms 0.9 loses hexadecimal ones where pandas is version 3.
      table = self._patiently(lambda: self._client.query(query, key=keys, convert_numeric=False))
    except drms.DrmsQueryError as error:
      raise UserError(f'JSOC does not understand the query {query}: {error}') from error
    rows = [] if table.empty else zip(*(table[key] for key in keys), strict=True)
    records = [read_record(self.settings.series, dict(zip(keys, row, strict=True))) for row in rows]
    within = {one.slot: one for one in records if start_mjd <= one.mjd <= end_mjd}
    if not within:
      raise UserError(
        f'JSOC has no record of {self.settings.series} from {jsoc_time(start_mjd)} to {jsoc_time(end_mjd)}; check '
        'the time and the series.'
      )
    return list(within.values())

  def ask(self, selection: str, process: Mapping | None) -> str:
    """Asks for an export of some records and returns its id.

    JSOC answers with the same id where it made the same export within the last 24 hours.

    Args:
      selection: T_REC of the records, as between the brackets of a query.
      process: What is done with the files.

    Raises:
      UserError: There is no address, or JSOC does not take it.
      ExportFailed: JSOC refuses.
      ConnectionError: JSOC cannot be reached.
    """
    email = self._email
    query = f'{self.settings.series}[{selection}]{{{self.settings.segment}}}'
    for pause in self._pauses():
      request = self._patiently(
        lambda: self._client.export(query, method='url', protocol='fits', email=email, process=process)
      )
      if request.status != QUEUE_FULL:
        break
      time.sleep(pause)
    else:
      raise ExportFailed(
        f'JSOC still has too many exports of {email} in work after {self.settings.patience_hours:g} h; run again later.'
      )
    if request.status not in (READY, *IN_WORK, NOT_KNOWN) or not request.id:
      raise ExportFailed(f'JSOC refuses the export {query}: {_told(request)}')
    return request.id

  def wait(self, export_id: str) -> dict[str, str]:
    """Waits until an export is ready.

    Returns:
      Slot -> address of its file.

    Raises:
      ExportFailed: JSOC could not make it, or does not know it.
      TimeoutError: It takes too long.
      ConnectionError: JSOC cannot be reached.
    """
    not_known = 0
    for pause in self._pauses():
      request, rows = self._patiently(lambda: self._look_after(export_id))
      if request.status == READY:
        found = [(slot_of(record) or slot_of(name), url) for record, name, url in rows]
        return {slot: url for slot, url in found if slot}
      not_known += request.status == NOT_KNOWN
      if request.status not in (*IN_WORK, NOT_KNOWN) or not_known > MOST_NOT_KNOWN:
        raise ExportFailed(f'JSOC could not make the export {export_id}: {_told(request)}')
      time.sleep(pause)
    raise TimeoutError(
      f'The export {export_id} is not ready after {self.settings.patience_hours:g} h; run again to go on waiting.'
    )

  def _look_after(self, export_id: str) -> tuple[drms.ExportRequest, list[tuple[str, str, str]]]:
    """Returns an export, and record, file name and address of each of its files if it is ready."""
    request = self._client.export_from_id(export_id)
    if request.status != READY:
      return request, []
    return request, list(request.urls[['record', 'filename', 'url']].itertuples(index=False, name=None))

  def download(self, url: str, path: pathlib.Path) -> None:
    """Fetches a file, whole and undamaged, or nothing.

    Raises:
      Gone: JSOC has it no longer.
      ConnectionError: It cannot be had, or only damaged.
      OSError: The disk is full, or nearly.
    """
    reason: Exception | None = None
    for pause in self._tries():
      try:
        with self._opened(url) as answer:
          size = int(answer.headers.get('Content-Length') or 0)
          check_space(path.parent, self.settings.min_free_gb, size)
          write_whole(path, functools.partial(_stream, answer, size))
        return
      except _Interrupted as error:
        reason = error
      time.sleep(pause)
    raise ConnectionError(
      f'{url} cannot be had from JSOC in {self.settings.retries + 1} attempts ({reason}); run again later: what is '
      'there is kept.'
    ) from reason

  def _opened(self, url: str) -> http.client.HTTPResponse:
    try:
      return urllib.request.urlopen(url, timeout=self.settings.timeout_s)
    except urllib.error.HTTPError as error:
      error.close()
      if error.code in (404, 410):
        raise Gone(url) from error
      raise _Interrupted(str(error)) from error
    except _BROKEN as error:
      raise _Interrupted(str(error) or type(error).__name__) from error

  @functools.cached_property
  def _email(self) -> str:
    email = self.settings.email or os.environ.get(EMAIL_VARIABLE, '')
    if not email:
      raise UserError(
        f'JSOC gives files only to a registered address: register one at {REGISTRATION}, and name it with email or '
        f'in the environment variable {EMAIL_VARIABLE}.'
      )
    if not self._patiently(lambda: self._client.check_email(email)):
      raise UserError(f'JSOC does not take the address {email!r}; register it at {REGISTRATION}, or name another one.')
    return email

  def _check_series(self) -> None:
    series = self.settings.series
    try:
      known = self._patiently(lambda: self._client.info(series)).segments.index  # drms keeps it.
    except drms.DrmsQueryError as error:
      raise UserError(f'JSOC has no series {series!r} ({error}); line-of-sight fields are in hmi.M_720s.') from error
    if self.settings.segment not in known:
      raise UserError(f'The series {series} has no segment {self.settings.segment!r}; it has {", ".join(known)}.')

  @property
  def step(self) -> str:
    """The part of a query that leaves out the frames between those of the cadence."""
    return f'@{self.settings.cadence_s:g}s' if self.settings.cadence_s else ''

  def _patiently(self, action: Callable[[], Result]) -> Result:
    """Does what may fail for a moment; errors that JSOC tells pass through."""
    reason: Exception | None = None
    for pause in self._tries():
      try:
        return action()
      except _BROKEN as error:
        reason = error
      time.sleep(pause)
    raise ConnectionError(
      f'JSOC ({self.settings.server}) does not answer as it should in {self.settings.retries + 1} attempts ({reason}); '
      'check the network and run again: what is there is kept.'
    ) from reason

  def _tries(self) -> Iterator[float]:
    """Yields the pause after each attempt [s]: twice that of the last; there is none after the last one."""
    for attempt in range(self.settings.retries):
      yield min(self.settings.first_pause_s * 2**attempt, self.settings.longest_pause_s)
    yield 0.0

  def _pauses(self) -> Iterator[float]:
    """Yields pauses [s] that grow, until patience is at its end."""
    end = time.monotonic() + self.settings.patience_hours * 3600
    pause = self.settings.first_pause_s
    while time.monotonic() < end:
      yield pause
      pause = min(PAUSE_GROWTH * pause, self.settings.longest_pause_s)


def check_space(folder: pathlib.Path, min_free_gb: float, size: int = 0) -> None:
  """Raises OSError where a file of some bytes would leave too little space on the disk."""
  free = (shutil.disk_usage(folder).free - size) / 1e9
  if free < min_free_gb:
    raise OSError(
      f'The disk of {folder} would have {max(free, 0):.3g} GB left, less than the {min_free_gb:g} GB of min_free_gb; '
      'make room and run again: what is there is kept.'
    )


def _told(request: drms.ExportRequest) -> str:
  """Returns what JSOC says of an export that it has not made."""
  if request.status in (*IN_WORK, NOT_KNOWN):
    return 'it does not know it.'
  try:
    request.wait()  # Raises at once: it has ended.
  except drms.DrmsExportError as error:
    return str(error)
  return f'status {request.status}.'


def _stream(answer: http.client.HTTPResponse, size: int, path: pathlib.Path) -> None:
  """Writes what an open connection gives, and checks it.

  Raises:
    _Interrupted: It breaks off, or what came is damaged.
  """
  with path.open('wb') as file:
    while True:
      try:
        block = answer.read(BLOCK_BYTES)
      except _BROKEN as error:
        raise _Interrupted(f'it breaks off: {error}') from error
      if not block:
        break
      file.write(block)
    if file.tell() < size:
      raise _Interrupted(f'it breaks off after {file.tell()} of {size} bytes')
  reason = damage(path)
  if reason:
    raise _Interrupted(reason)
