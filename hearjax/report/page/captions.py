"""The words beside the pictures: what is drawn, what it shows, and what would change our mind."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Caption:
  """Words of a picture.

  Attributes:
    title: A few words.
    alt: What is drawn, for those who do not see it.
    shows: What it shows, a sentence.
    change: What would change our mind, a sentence.
  """

  title: str
  alt: str
  shows: str
  change: str


FINDINGS, BALANCE = 'figures/findings.png', 'figures/balance.png'
VERIFICATION = (
  'figures/matched.png',
  'figures/reliability.png',
  'figures/base_rates.png',
  'figures/first_alarm.png',
  'figures/strata.png',
)
PRUNING = ('pruning/path.png', 'pruning/lead_time.png', 'pruning/contribution.png', 'pruning/filters.png')
RESPONSE = ('figures/synthetic_fields.png', 'figures/response.png', 'figures/response_curves.png')
ATTRIBUTION = (
  'attribution/maps.png',
  'attribution/composites.png',
  'attribution/sanity.png',
  'attribution/maximisation.png',
)
INVARIANCE = ('figures/invariance.png',)
SCALE = ('figures/scale.png', 'figures/completeness.png')
HISTORY = 'scan/history.png'
OPTIONAL = ('attribution/maximisation.png',)  # Drawn only where it is asked for.

CAPTIONS = {
  FINDINGS: Caption(
    'Effects beside their references',
    'A row for each claim: the effect in the networks and in each kind of reference, as points with 95 % intervals.',
    'Each effect in the trained networks, beside the same effect in things that cannot have learnt it: meters of '
    '|B| and of flux, untrained networks, networks trained on exchanged labels.',
    'A reference that reaches as far as the networks with other seeds or more pairs, or an interval that comes to '
    'hold the smallest effect that matters.',
  ),
  BALANCE: Caption(
    'Balance of emerging and control regions',
    'Standardised difference between emerging and control regions with 95 % interval, a row for each quantity.',
    'How emerging regions and their controls differ, pair by pair, in everything but the map: place on the disk, '
    'season, frames, missing pixels, noise.',
    'An interval outside the shaded band, and metadata with a skill of their own (the line "leak" of the verdict): '
    'the classes could then be told apart without any field.',
  ),
  'figures/matched.png': Caption(
    'Skill among regions of equal flux',
    'TSS against time, a panel for each model: hollow points for all regions, filled ones for couples of equal flux.',
    'The skill that is left where emerging and control regions are coupled anew to equal central and total flux '
    '(filled), beside that among all regions (hollow).',
    'More couples: where an interval of filled points holds 0, a model may know no more than the flux that is there '
    'already, and near emergence few controls have as much.',
  ),
  'figures/reliability.png': Caption(
    'ROC curves and reliability',
    'ROC curves of all models, then observed frequency against forecast probability, a panel for each model.',
    'At the last interval before emergence, detections against false alarms at every threshold, and how often '
    'emergence followed a forecast of each probability.',
    'A calibrated curve whose band leaves the diagonal: its probabilities could then not be taken at their word, '
    'whatever the TSS.',
  ),
  'figures/base_rates.png': Caption(
    'Alarms where few places emerge',
    'Left, precision against base rate for each model; right, economic value against the ratio of cost to loss.',
    'Which share of the alarms is right where only few places emerge, and for which users acting on the forecast is '
    'worth more than always or never acting.',
    'A base rate of the Sun other than those drawn, or controls that are easier than the places an operator watches: '
    'a balanced survey can show neither.',
  ),
  'figures/first_alarm.png': Caption(
    'First alarms',
    'Share of emerging and of control regions with an alarm by each time, a panel for each model.',
    'Whoever watches a region through all intervals has more alarms than one look gives: right ones (coloured) and '
    'false ones (grey), any alarm (solid) or alarms that last until emergence (dashed).',
    'Controls that are warned of nearly as often as emerging regions: an early alarm would then be no warning.',
  ),
  'figures/strata.png': Caption(
    'Skill in parts of the survey',
    'TSS and area under the ROC curve within classes of place on the disk, flux and peak field.',
    'Whether the skill is the same over the disk, for weak and strong regions, and for both hemispheres.',
    'Skill that is there in one class alone, as near the limb, where projection could make it, or in strong regions, '
    'where the flux could.',
  ),
  'pruning/path.png': Caption(
    'How few filters keep the skill',
    'TSS on test pairs against the number of filters left, for the chosen order, random orders, and smallest kernels.',
    'The skill that is left as filters are taken away in an order chosen on training pairs, beside random orders '
    'and smallest kernels first.',
    'Random orders that keep as much: the filters left would then be no special ones.',
  ),
  'pruning/lead_time.png': Caption(
    'Filters that respond to flux, alone',
    'TSS against lead time of whole networks and of their positive and negative responders, trained and untrained.',
    'What is left of the skill if only those filters of the last layer speak that respond positively, or negatively, '
    'to the unsigned flux; beside it the same of untrained networks.',
    'Untrained networks whose responders alone do as well: the skill would then lie in the flux and in no training.',
  ),
  'pruning/contribution.png': Caption(
    'The strongest responders of one network',
    'Contribution to the logit against central unsigned flux, a point for each test map, PE and NE in two colours.',
    'What the strongest positive and the strongest negative responder of one network add to its output, against the '
    'unsigned flux in the central window.',
    'PE and NE of equal flux on different curves: the filter would then read more than flux. One network is an '
    'example; the claim on all of them is among the findings.',
  ),
  'pruning/filters.png': Caption(
    'Where filters are most active',
    'Small patches of field, a row for each important filter of one network, each patch from another test map.',
    'The patches of test maps to which the most important filters of one network respond most.',
    'Patches of other kinds in another network: that these five look alike to the eye is an illustration and no '
    'finding.',
  ),
  'figures/synthetic_fields.png': Caption(
    'Synthetic fields',
    'Examples of bipoles, spots, quadrupoles, textures and noise of several sizes, all in one grey scale.',
    'Examples of the fields that the networks are asked about, before they are laid into quiet Sun.',
    'Fields that look like nothing on the Sun in other ways than their size: an answer to them would say little.',
  ),
  'figures/response.png': Caption(
    'Response to width and distance of poles',
    'Two pairs of maps of the rise of the logit over width and distance of the poles, for networks and meter of |B|.',
    'How much a bipole raises the output over quiet Sun, by the width and the distance of its poles, at equal total '
    'flux and at equal flux within the central window.',
    'A meter of |B| with the same map: the preference would then be that of the window and not of the networks.',
  ),
  'figures/response_curves.png': Caption(
    'Response to one parameter at a time',
    'Rise of the logit along each parameter of each family of fields, with intervals, for networks and references.',
    'The rise of the output with width, distance, scale and flux in every family of fields, networks and references '
    'alike, with 95 % intervals (a band for the networks, bars for references).',
    'References whose intervals cover that of the networks, as untrained networks may: narrow things stand out of the '
    'noise by themselves.',
  ),
  'attribution/maps.png': Caption(
    'What single pixels add',
    'Magnetograms of emerging and control regions, beside each the contribution of its pixels by two methods.',
    'What each pixel adds to the output (red) or takes from it (blue), by networks that had not learnt from the '
    'region; the examples are spread over the outputs and not chosen by eye.',
    'Maps of untrained networks that look the same: see the sanity checks, without which such maps are decoration.',
  ),
  'attribution/composites.png': Caption(
    'Mean maps by lead time',
    'Rows of mean maps of PE, of NE and of their difference, from left to right towards emergence.',
    'The mean field, its absolute value and the attribution of both classes by lead time; outlined is what a '
    'permutation of signs exceeds anywhere in the row in 5 % of repetitions.',
    'Outlines that vanish with other pairs, or outlines far from the emergence site, which would point at a '
    'difference between the samples.',
  ),
  'attribution/sanity.png': Caption(
    'Do attributions say what was learnt?',
    'Correlation of attribution maps between networks; output as marked flux is deleted and inserted.',
    'Whether maps of networks that learnt the same are alike and those of untrained ones are not, and how fast the '
    'output falls as marked flux is taken away, beside strongest field first.',
    'Untrained networks as alike as trained ones, or an output that falls faster with strongest field first: the '
    'maps would then show field and not what was learnt.',
  ),
  'attribution/maximisation.png': Caption(
    'Fields of highest output',
    'Fields found by climbing the output from quiet Sun.',
    'Fields that raise the output as far as it goes from quiet Sun.',
    'Other fields from other starts: no length may be read from such pictures.',
  ),
  'figures/invariance.png': Caption(
    'What changes of the maps cost',
    'Change of TSS, of area under the ROC curve and of the output for each change of the maps, with 95 % intervals.',
    'What becomes of the skill when all maps are changed: polarities, order of pixels, place, strength, instrument, '
    'perspective.',
    'A loss under noise or blur of the size of the real instrument: the skill would then hang on this survey. No '
    'loss under shuffled pixels: the networks would read amounts alone.',
  ),
  'figures/scale.png': Caption(
    'Width, distance, wavelength',
    'Four panels: the output against width, distance and wavelength, and the area under the ROC curve by wavelength.',
    'How the output depends on the width of poles, the distance of opposite ones, and the wavelength to which maps '
    'are reduced; a width is told only where its claim is supported.',
    'References with the same curves, or a peak at the edge of what was asked: that is a bound and no width.',
  ),
  'figures/completeness.png': Caption(
    'Which bipoles are detected',
    'Probability of detection over flux and separation, then the flux of which half is detected, with references.',
    'Which share of bipoles that are laid into control maps is detected, by flux, separation and place, at a rate of '
    'false alarms that is fixed on other maps.',
    'A meter of |B| that detects as much, or false alarms on new controls far from the rate that was set.',
  ),
  HISTORY: Caption(
    'Probability of places over time',
    'Probability against time of the places with the highest peaks, and the times of known emergences.',
    'What the networks say of the places with the highest peaks as time goes on, and when known regions emerged '
    'near them.',
    'Places without emergence that are as high as often: the column "by chance" says how often another place is '
    'warned of.',
  ),
}


def caption_of_disk(name: str, number: int) -> Caption:
  """Returns the words of the picture of a scanned disk: `name` of its file, `number` of all that were scanned."""
  return Caption(
    f'A scanned disk: {name.rpartition("/")[2].removesuffix(".png")}',
    'A full-disk magnetogram and beside it the map of emergence probability, alarms marked on both.',
    f'The frame in the middle of {number} scanned: the place was chosen by its number and not by what it shows. '
    'Hatched is what lies outside the domain of the training.',
    'Alarms where nothing emerges, and as many on the days before: the table of emergences counts both.',
  )
