"""How frames are asked from JSOC."""

import dataclasses
import re

from hearjax.checks import UserError, check_not_negative, check_positive
from hearjax.observe.sources.frames import ALL_BITS, check_quality_mask

JSOC = 'http://jsoc.stanford.edu'
EMAIL_VARIABLE = 'JSOC_EMAIL'  # As in the documentation of drms.


@dataclasses.dataclass(frozen=True)
class JsocSettings:
  """How frames are asked from JSOC.

  Attributes:
    series: Name of the data series.
    segment: Its image of the line-of-sight field.
    email: Address that is registered with JSOC; that of the environment variable JSOC_EMAIL for ''.
    server: Where JSOC is.
    cutouts: Ask for the part of the disk that is needed; else for whole disks, which regions then share.
    cadence_s: Time between the frames that are asked for [s], a multiple of that of the series; all of them for 0.
    quality_mask: Bits of QUALITY that make a frame bad, so that it is not asked for.
    first_pause_s: Pause before an export is looked after again, and before what failed is tried again [s].
    longest_pause_s: What that pause grows to [s].
    patience_hours: How long an export may take [h]; a later run goes on waiting.
    timeout_s: How long a download may stand still [s].
    retries: How often a connection is tried again, and a damaged file fetched again.
    min_free_gb: Space that is left free on the disk [GB].
    keep_frames: Keep the frames once they have been used.
  """

  series: str = 'hmi.M_720s'
  segment: str = 'magnetogram'
  email: str = ''
  server: str = JSOC
  cutouts: bool = True
  cadence_s: float = 0.0
  quality_mask: int = ALL_BITS
  first_pause_s: float = 5.0
  longest_pause_s: float = 300.0
  patience_hours: float = 24.0
  timeout_s: float = 60.0
  retries: int = 6
  min_free_gb: float = 5.0
  keep_frames: bool = False

  def __post_init__(self) -> None:
    if not re.fullmatch(r'\w+\.\w+', self.series):
      raise UserError(f'The series must be named as JSOC does, such as hmi.M_720s, got {self.series!r}.')
    if not re.match(r'https?://[^/]', self.server):
      raise UserError(f'The server must be an address such as {JSOC}, got {self.server!r}.')
    check_quality_mask(self.quality_mask)
    for name in ('first_pause_s', 'longest_pause_s', 'patience_hours', 'timeout_s'):
      check_positive(name, getattr(self, name))
    for name in ('cadence_s', 'retries', 'min_free_gb'):
      check_not_negative(name, getattr(self, name))
