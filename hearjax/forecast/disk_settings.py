"""Settings of a scan: where on the disk a forecast is made, and which alarms are those of one place.

Apart from what uses them, which needs the extra `sun`.
"""

import dataclasses

from hearjax.checks import UserError, check_positive


@dataclasses.dataclass(frozen=True)
class DiskSettings:
  """Where on the disk a forecast is made.

  Attributes:
    step_mm: Distance of neighbouring places [Mm], rounded to whole strides of the network (4 px of 1.39 Mm by default).
    max_angle_deg: Heliocentric angle beyond which the field counts as missing [deg], and there is no forecast.
    min_coverage: Least fraction of the square around a place to be observed.
  """

  step_mm: float = 5.56
  max_angle_deg: float = 75.0
  min_coverage: float = 0.5

  def __post_init__(self) -> None:
    if not 0 < self.step_mm <= 100:
      raise UserError(f'step_mm must be positive, and 100 Mm at most; got {self.step_mm}.')
    if not 0 < self.max_angle_deg <= 90 or not 0 <= self.min_coverage <= 1:
      raise UserError(
        f'max_angle must lie in (0, 90] and min_coverage in [0, 1]; got {self.max_angle_deg} and {self.min_coverage}.'
      )

  def step_px(self, stride: int, pixel_scale_mm: float) -> int:
    """Returns the distance of neighbouring places [px]: a multiple of the stride of the network."""
    return stride * max(1, round(self.step_mm / (stride * pixel_scale_mm)))


@dataclasses.dataclass(frozen=True)
class HistorySettings:
  """When alarms of different frames are those of one place.

  Attributes:
    link_mm: Largest distance of an alarm from the last one of its place [Mm].
    gap_hours: Longest time between two alarms of a place [h].
    lead_hours: How long before an emergence, and after it, an alarm near it counts as its own [h].
  """

  link_mm: float = 35.0
  gap_hours: float = 48.0
  lead_hours: float = 168.0

  def __post_init__(self) -> None:
    for entry in dataclasses.fields(self):
      check_positive(entry.name, getattr(self, entry.name))
