"""Every number of the simulated Sun, with its unit and where it comes from.

The numbers come from published statistics, or are our choice where we know of none. None was set by looking at a skill
score.
"""

import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np

from hearjax.checks import UserError
from hearjax.solar import CM2_PER_MM2, DEFAULT_PIXEL_SCALE_MM

MM_PER_HOUR = 3.6e-3  # 1 m/s in Mm/h.


@dataclasses.dataclass(frozen=True)
class Sun:
  """Parameters of the simulated magnetograms; "our choice" where no source is named.

  Attributes:
    pixel_scale_mm: Side of a pixel [Mm]; about that of the HEAR maps.
    margin_mm: The Sun goes on for this much beyond each edge of a patch [Mm], then repeats itself; our choice.
    psf_fwhm_mm: Full width at half maximum of the point spread and of an element together [Mm]; with the spreading
      on four pixels it comes to about 1.4 px. Our choice, after the slope of the spectra of HMI magnetograms.
    strongest_gauss: Radial field that concentrations approach and never exceed [G]; our choice: that of pores.

    cell_mm: Distance between centres of supergranules [Mm] (Rieutord & Rincon 2010, Living Rev. Sol. Phys. 7, 2).
    cell_hours: Shortest and longest life of a supergranule [h] (the same review: 1 to 2 d).
    outflow_m_s: Horizontal flow from the centre of a supergranule to its edge [m/s] (the same review: 300 to 400).
    lane_mm: Distance from the edge over which that flow dies away [Mm]; our choice.
    diffusion_km2_s: Random walk of elements on granules [km^2/s] (Hagenaar et al. 1999, ApJ 511, 932: 70 to 90 on
      time scales under 3 h).
    spin_up_hours: Time for the flow to gather the elements before the first interval [h]; our choice.

    element_mx: Smallest and largest flux of an element [Mx]; between them a power law. Our choice within the
      2e17 to 1e20 of Parnell et al. (2009, ApJ 698, 75): weaker ones do not outlive a window of 410 min.
    element_slope: Exponent of that power law (Parnell et al. 2009: -1.85).
    bipole_gauss: Unsigned flux density of the ephemeral bipoles while all are full grown [G]. Our choice, so that
      quiet patches have the 4 to 6 G of the quietest parts around AR 11158 in HMI magnetograms.
    bipole_scatter: Standard deviation of its natural logarithm from pair to pair; our choice.
    bipole_hours: Shortest and longest life of a bipole and what becomes of it [h]; our choice about the 8 to 19 h in
      which the quiet Sun replaces its flux (Hagenaar, Schrijver & Title 2003, ApJ 584, 1107).
    bipole_rise_hours: Time in which its flux comes, and goes [h]; our choice.
    bipole_separation_mm: Smallest and largest distance of its polarities [Mm]; our choice.
    bipole_alignment: Strength of the preference for Hale's orientation, 0 for none; our choice: weak.
    unipolar_gauss: Median flux density of the surplus of one polarity [G]; our choice: activity belts.
    unipolar_scatter: Standard deviation of its natural logarithm from pair to pair; our choice.
    plage_fraction: Fraction of pairs whose surplus is gathered in a patch (decayed plage); our choice.
    plage_share: Share of the surplus that sits in the patch, where there is one; our choice.
    plage_mm: Standard deviation of the patch along its long and short axis [Mm]; our choice.

    internetwork_gauss: What is left after 410 min of the field inside the cells, standard deviation [G]; our choice.
    internetwork_mm: Its scale, standard deviation of a Gaussian [Mm]; our choice.
    noise_gauss: Noise of one 45 s frame at disk centre [G] (Liu et al. 2012, Sol. Phys. 279, 295: 10.2 G).
    noise_limb: Relative rise of the noise from disk centre to the limb; our choice.
    residual_gauss: Spatially correlated residual that averaging does not remove, standard deviation [G]; our choice.
    residual_mm: Its scale, standard deviation of a Gaussian [Mm]; our choice.

    region_mx: Median of the largest unsigned flux of an emerging region, both polarities [Mx]; our choice, with
      the scatter: most between 1e21 and 2e22.
    region_scatter: Standard deviation of its natural logarithm; our choice.
    emergence_fraction: Fraction of the largest flux that defines the emergence time (Leka et al. 2013, ApJ 762, 130,
      from memory: 0.1).
    growth_hours: Median e-folding time of the flux well before the emergence time [h]; our choice: from 10 % to 95 %
      in 41 h.
    growth_scatter: Standard deviation of its natural logarithm; our choice.
    fragments: Bipoles that make up an emerging region; our choice.
    cluster_mm: Standard deviation of a polarity's fragments about its middle in a region of the median flux [Mm];
      grows with the fourth root of the flux, so that larger regions are stronger too. Our choice.
    centre_mm: Standard deviation of the place of emergence about the centre of the patch, per axis [Mm]; our choice.
    gather_hours: Time in which a fragment goes from the middle of the region to its polarity [h]; our choice.
    separation_m_s: Largest speed of the separation of the polarities [m/s] (Schunker et al. 2019, A&A 625, A53).
    separation_peak_hours: When it is reached [h] (the same: about 0.1 d).
    separation_start_hours: Standard deviation of the Gaussian rise of the speed [h]; our choice, so that the
      polarities part about a day before the emergence time, as there.
    separation_end_hours: When the separation ends [h] (the same: about 2.5 d).
    leading_share: Leading polarity's share of the motion (Schunker et al. 2016, A&A 595, A107: +121 and -70 m/s).
    joy_slope, joy_offset: Joy's law, sin(tilt) = slope sin|latitude| + offset (Wang & Sheeley 1989, Sol. Phys. 124,
      81).
    tilt_scatter_deg: Standard deviation of the tilt [deg]; our choice.
    anti_hale: Fraction of regions with the polarities the wrong way round; our choice: a few per cent.

    flux_ratio: World `flux`: how many times the flux of a PE region's elements is that of an NE region's.
    flux_scatter: World `flux`: standard deviation of the natural logarithm of every region's factor.
    pattern_scale_mm: World `pattern`: distance of the polarities of the compact bipoles [Mm].
    pattern_bipoles: World `pattern`: bipoles in a region.
    pattern_mx: World `pattern`: flux of each polarity of a bipole [Mx].
    pattern_radius_mm: World `pattern`: they lie within this distance of the centre [Mm].
    pattern_width_mm: World `pattern`: full width at half maximum of a pole as it is observed [Mm]; 0 for that of a
      single element.
    pattern_control_scale_mm: World `pattern`: distance of the polarities in control regions, whose bipoles then stay
      together [Mm]; 0 for torn apart.
    pattern_control_width_mm: World `pattern`: width of the poles in control regions [Mm]; 0 for that of the others.
  """

  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM
  margin_mm: float = 22.24
  psf_fwhm_mm: float = 1.4
  strongest_gauss: float = 2500.0

  cell_mm: float = 32.0
  cell_hours: tuple[float, float] = (24.0, 48.0)
  outflow_m_s: float = 350.0
  lane_mm: float = 2.0
  diffusion_km2_s: float = 80.0
  spin_up_hours: float = 24.0

  element_mx: tuple[float, float] = (1e18, 5e19)
  element_slope: float = -1.85
  bipole_gauss: float = 7.0
  bipole_scatter: float = 0.15
  bipole_hours: tuple[float, float] = (6.0, 30.0)
  bipole_rise_hours: float = 2.0
  bipole_separation_mm: tuple[float, float] = (3.0, 9.0)
  bipole_alignment: float = 0.5
  unipolar_gauss: float = 2.0
  unipolar_scatter: float = 0.7
  plage_fraction: float = 0.4
  plage_share: float = 0.7
  plage_mm: tuple[float, float] = (30.0, 15.0)

  internetwork_gauss: float = 2.0
  internetwork_mm: float = 1.2
  noise_gauss: float = 10.2
  noise_limb: float = 0.5
  residual_gauss: float = 0.4
  residual_mm: float = 4.0

  region_mx: float = 5e21
  region_scatter: float = 0.7
  emergence_fraction: float = 0.1
  growth_hours: float = 8.0
  growth_scatter: float = 0.4
  fragments: int = 160
  cluster_mm: float = 3.5
  centre_mm: float = 4.0
  gather_hours: float = 3.0
  separation_m_s: float = 230.0
  separation_peak_hours: float = 2.4
  separation_start_hours: float = 12.0
  separation_end_hours: float = 60.0
  leading_share: float = 121 / 191
  joy_slope: float = 0.48
  joy_offset: float = 0.03
  tilt_scatter_deg: float = 20.0
  anti_hale: float = 0.05

  flux_ratio: float = 1.25
  flux_scatter: float = 0.15
  pattern_scale_mm: float = 6.0
  pattern_bipoles: int = 12
  pattern_mx: float = 2e19
  pattern_radius_mm: float = 30.0
  pattern_width_mm: float = 0.0
  pattern_control_scale_mm: float = 0.0
  pattern_control_width_mm: float = 0.0

  @property
  def pixel_cm2(self) -> float:
    """Area of a pixel [cm^2]."""
    return self.pixel_scale_mm**2 * CM2_PER_MM2

  @property
  def element_variance_mm2(self) -> float:
    """Variance along an axis of a single element as it is observed [Mm^2]: the point spread, and four pixels."""
    return self.psf_fwhm_mm**2 / (8 * math.log(2)) + self.pixel_scale_mm**2 / 6

  @property
  def mean_element_mx(self) -> float:
    """Mean of the power law of element fluxes [Mx]."""
    (low, high), slope = self.element_mx, self.element_slope
    moment = lambda power: (high**power - low**power) / power  # noqa: E731
    return moment(slope + 2) / moment(slope + 1)

  def padded_size(self, size: int) -> int:
    """Returns the side of the periodic domain around a patch of `size` px [px]."""
    return size + 2 * math.ceil(self.margin_mm / self.pixel_scale_mm)


def change_sun(sun: Sun, changes: Sequence[str]) -> Sun:
  """Returns a Sun with parameters changed as a command line gives them.

  Args:
    sun: What to start from.
    changes: `NAME=VALUE` each, the value as JSON: `region_mx=3e21`, `bipole_hours=[6, 30]`.

  Raises:
    UserError: A name is unknown, or a value is not of the kind of the parameter, or negative where that is not.
  """
  parameters = {field.name: getattr(sun, field.name) for field in dataclasses.fields(sun)}
  for change in changes:
    name, _, text = change.partition('=')
    if name not in parameters:
      raise UserError(f'The simulated Sun has no parameter {name!r}; it has {", ".join(parameters)}.')
    before = parameters[name]
    try:
      value = json.loads(text)
      value = tuple(map(float, value)) if isinstance(before, tuple) else type(before)(value)
    except (ValueError, TypeError) as error:
      raise UserError(f'Cannot read {change!r}: {name} is {before!r} by default; give such a value.') from error
    old, new = (np.atleast_1d(number) for number in (before, value))
    if new.shape != old.shape or not np.all(np.isfinite(new)) or np.any((new < 0) & (old >= 0)):
      raise UserError(f'{name} cannot be {text}; it is {before!r} by default.')
    parameters[name] = value
  return Sun(**parameters)
