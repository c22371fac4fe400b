"""Numbers that several rooms share."""

CM2_PER_MM2 = 1e16  # 1 G over 1 Mm^2 is 1e16 Mx.
SYNODIC_DAYS = 27.2752316  # Carrington's mean synodic period (Meeus, Astronomical Algorithms, chapter 29).

# The default grid of a survey.
DEFAULT_SIZE = 128  # [px]
DEFAULT_PIXEL_SCALE_MM = 1.39

# Point poles of opposite sign a distance d apart, in random directions, have a power spectrum 1 - J0(k d) times that of
# single poles; it is largest at k d = 3.8317, the first zero of J1, which is a wavelength of d / 0.6098.
POLE_DISTANCE_PER_WAVELENGTH = 0.6098
