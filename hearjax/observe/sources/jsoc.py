"""Frames from JSOC: a queue on disk that goes on where it was, whenever it was stopped.

Each need has a file that tells how far it is: `asked` (it is known which records are wanted), `exported` (JSOC has
given ids, and works), `downloading`, `done`, `released` (used, and its frames removed). An id is on disk before it is
waited for. Between an answer of JSOC and that moment a program may be killed, too: the export is then asked for again,
and JSOC, which knows its exports of the last 24 hours, answers with the same id.

    FOLDER/requests/<series>_cutouts_<first day>_<hash of the need>.json
    FOLDER/cutouts/<the same>/<series>.<T_REC>.fits      of one place
    FOLDER/disks/<series>.<T_REC>.fits                   whole disks, which needs share
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

from astropy.time import Time
from filelock import FileLock

from hearjax.files import CANNOT_LOCK, told_as_damaged, write_json
from hearjax.observe.sources.frames import Frame, Need, is_bad
from hearjax.observe.sources.jsoc_cutouts import cutout_process
from hearjax.observe.sources.jsoc_names import Record, selections
from hearjax.observe.sources.jsoc_service import ExportFailed, Gone, Service, check_space
from hearjax.observe.sources.jsoc_settings import JsocSettings

__all__ = ['JsocSettings', 'JsocSource']

MOST_ROUNDS = 2  # How often a frame is asked for that an export did not bring.


@dataclasses.dataclass
class Export:
  """An export of some records of a need.

  Attributes:
    selection: Their T_REC, as between the brackets of a query.
    slots: Their slots.
    id: What JSOC calls it; '' until it is asked for.
  """

  selection: str
  slots: list[str]
  id: str = ''


@dataclasses.dataclass
class Request:
  """How far a need is; what its file holds.

  Attributes:
    series: The data series.
    need: The need, entry by entry.
    state: asked, exported, downloading, done, released.
    records: All records of the time in question, good or bad, by time.
    exports: Those that are under way.
    rounds: How often frames were asked for.
    missing: Slots of the frames that JSOC does not give.
  """

  series: str
  need: dict[str, float]
  state: str
  records: list[Record]
  exports: list[Export] = dataclasses.field(default_factory=list)
  rounds: int = 0
  missing: list[str] = dataclasses.field(default_factory=list)

  @classmethod
  def read(cls, path: pathlib.Path) -> 'Request':
    """Reads a file of the queue.

    Raises:
      UserError: It is damaged.
    """
    with told_as_damaged(path, 'remove it, and what it stands for is asked for again'):
      content = json.loads(path.read_text())
      content['records'] = [Record(**one) for one in content['records']]
      content['exports'] = [Export(**one) for one in content['exports']]
      return cls(**content)


class JsocSource:
  """Frames from JSOC, by way of a folder on disk.

  Several processes may use one folder. Each need is worked on by one of them at a time; so are all of whole disks
  together, since they share them.
  """

  name = 'jsoc'

  def __init__(self, folder: str | os.PathLike, settings: JsocSettings | None = None) -> None:
    """Prepares the queue; nothing is asked yet.

    Args:
      folder: Where requests and frames are kept.
      settings: How to ask.
    """
    self.folder = pathlib.Path(folder)
    self.settings = settings or JsocSettings()

  def collect(self, need: Need) -> list[Frame]:
    """Returns the frames of good quality between start and end, both included, sorted by time.

    Waits until they are on disk. A need that is done is not asked for again; one that is released is.

    Raises:
      UserError: The address, the series, or the time is none for which JSOC has something; or the place lies beyond the
        limb.
      OSError: JSOC cannot be reached, fails, or takes too long, or the disk is full. What is there is kept.
    """
    path = self._request_path(need)
    with self._alone(path):
      request = Request.read(path) if path.exists() else None
      if request is None or request.state == 'released':
        records = self._service.records(need.start_mjd, need.end_mjd)
        request = Request(self.settings.series, dataclasses.asdict(need), 'asked', records)
        _save(path, request)
      self._fetch(path, request, need)
      good = self._good(request)
      return [Frame(str(self._frame_path(need, one)), one.mjd, one.quality) for one in sorted(good, key=_by_time)]

  def count_bad(self, need: Need) -> int:
    """Returns how many records of a need that was asked for are left out for their quality."""
    path = self._request_path(need)
    records = Request.read(path).records if path.exists() else []
    return sum(map(self._is_bad, records))

  def release(self, need: Need) -> None:
    """Removes the frames of a need, unless the settings keep them; of whole disks those that no other need has."""
    path = self._request_path(need)
    if self.settings.keep_frames or not path.exists():
      return
    with self._alone(path):
      request = Request.read(path)
      if request.state != 'done':
        return
      shared = set() if self.settings.cutouts else self._used_by_others(path)
      _save(path, request, state='released')
      for record in request.records:
        if record.slot not in shared:
          self._frame_path(need, record).unlink(missing_ok=True)
      with contextlib.suppress(OSError):  # It is that of whole disks, or was never made.
        self._frame_folder(need).rmdir()

  # --- How far it is ------------------------------------------------------------------------------------------------

  def _fetch(self, path: pathlib.Path, request: Request, need: Need) -> None:
    """Brings every good frame of a request onto the disk that JSOC gives."""
    if request.state == 'done':
      request.rounds = 0  # Somebody has removed frames since.
    while lacking := [one.slot for one in self._good(request) if not self._frame_path(need, one).exists()]:
      if not request.exports and request.rounds == MOST_ROUNDS:
        warnings.warn(
          f'JSOC does not give {len(lacking)} of the frames that it lists; they are left out (to ask again, remove '
          f'{path}).',
          stacklevel=3,
        )
        request.missing += lacking
        break
      if not request.exports:
        chosen = selections(request.records, set(lacking), self._service.step)
        exports = [Export(*one) for one in chosen]
        _save(path, request, state='asked', exports=exports, rounds=request.rounds + 1)
      self._ask(path, request, need)
      for export in list(request.exports):
        self._download(path, request, need, export)
    if request.state != 'done':
      _save(path, request, state='done', exports=[])

  def _ask(self, path: pathlib.Path, request: Request, need: Need) -> None:
    """Asks for the exports of a request that have not been asked for."""
    new = [one for one in request.exports if not one.id]
    if not new:
      return
    check_space(self.folder, self.settings.min_free_gb)
    process = cutout_process(need) if self.settings.cutouts else None
    for export in new:
      export.id = self._service.ask(export.selection, process)
      _save(path, request, state='exported')

  def _download(self, path: pathlib.Path, request: Request, need: Need, export: Export) -> None:
    """Waits for an export and fetches its files; what it does not bring is asked for anew."""
    others = [one for one in request.exports if one is not export]
    try:
      urls = self._service.wait(export.id)
    except ExportFailed:
      _save(path, request, state='asked', exports=others, rounds=request.rounds - 1)  # It brought nothing.
      raise
    _save(path, request, state='downloading')
    folder = self._frame_folder(need)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob('.*.partial.fits'):  # Of a program that was killed: no other one is at work here.
      left.unlink(missing_ok=True)
    records = {one.slot: one for one in self._good(request)}
    with contextlib.suppress(Gone):  # JSOC keeps an export for some days.
      for slot in export.slots:
        frame = self._frame_path(need, records[slot]) if slot in urls and slot in records else None
        if frame is not None and not frame.exists():
          self._service.download(urls[slot], frame)
    _save(path, request, exports=others)

  # --- What belongs to it -------------------------------------------------------------------------------------------

  @property
  def _service(self) -> Service:
    return _service(self.settings)

  def _is_bad(self, record: Record) -> bool:
    return bool(is_bad(record.quality, self.settings.quality_mask))

  def _good(self, request: Request) -> list[Record]:
    return [one for one in request.records if not self._is_bad(one) and one.slot not in request.missing]

  def _used_by_others(self, path: pathlib.Path) -> set[str]:
    """Returns the slots of whole disks that needs have that are not released yet."""
    series = self.settings.series
    others = (Request.read(other) for other in path.parent.glob(f'{series}_disks_*.json') if other != path)
    return {one.slot for other in others if other.state != 'released' for one in other.records}

  def _stem(self, need: Need) -> str:
    """Returns the name of a need: the day on which it begins, and a hash of it and of what decides on its frames."""
    settings = self.settings
    told: list[Any] = [dataclasses.asdict(need), settings.segment, settings.cadence_s, settings.quality_mask]
    digest = hashlib.sha256(json.dumps([settings.series, *told], sort_keys=True).encode()).hexdigest()[:16]
    day = Time(need.start_mjd, format='mjd', scale='utc').strftime('%Y%m%d')
    return f'{settings.series}_{"cutouts" if settings.cutouts else "disks"}_{day}_{digest}'

  def _request_path(self, need: Need) -> pathlib.Path:
    return self.folder / 'requests' / f'{self._stem(need)}.json'

  def _frame_folder(self, need: Need) -> pathlib.Path:
    return self.folder / 'cutouts' / self._stem(need) if self.settings.cutouts else self.folder / 'disks'

  def _frame_path(self, need: Need, record: Record) -> pathlib.Path:
    return self._frame_folder(need) / f'{self.settings.series}.{record.slot}.fits'

  @contextlib.contextmanager
  def _alone(self, path: pathlib.Path) -> Iterator[None]:
    """Waits until no other process works on a need, or on whole disks."""
    name = path.stem if self.settings.cutouts else 'disks'
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f'.{name}.lock'), fallback_to_soft=False)
    try:
      lock.acquire()
    except OSError as error:
      if error.errno not in CANNOT_LOCK:
        raise
    try:
      yield
    finally:
      lock.release()


def _save(path: pathlib.Path, request: Request, **changes: Any) -> None:
  for name, value in changes.items():
    setattr(request, name, value)
  write_json(path, request)


def _by_time(record: Record) -> float:
  return record.mjd


@functools.lru_cache(maxsize=4)
def _service(settings: JsocSettings) -> Service:
  """Keeps what JSOC has told of the series and the address, beside the source: that is sent to every task."""
  return Service(settings)
