"""Numbers that several rooms share."""

CM2_PER_MM2 = 1e16  # 1 G over 1 Mm^2 is 1e16 Mx.
SYNODIC_DAYS = 27.2752316  # Carrington's mean synodic period (Meeus, Astronomical Algorithms, chapter 29).

# The default grid of a survey.
DEFAULT_SIZE = 128  # [px]
DEFAULT_PIXEL_SCALE_MM = 1.39
