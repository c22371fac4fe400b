"""Pruning: right about a network whose needed filters are known, and the same for a network of another program."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.interpret import compaction, pruning
from hearjax.interpret.network import adapt, filter_layers, masked_logits
from hearjax.interpret.pruning import FEW, GREEDY, MAGNITUDE, MEAN, RANDOM, PruningSettings
from hearjax.interpret.statistics import Draws
from hearjax.interpret.variants import offset_losses
from tests.hand_made import polarity_flux
from tests.interpret.foreign import Foreign, initial
from tests.interpret.test_network import own, random_field
from tests.interpret.test_variants import NAMED, hand_made, strong_survey, subject_of

SETTINGS = PruningSettings(order_maps=16, sizes=7, band_sizes=3)


@pytest.fixture(scope='module')
def pruned():
  survey = strong_survey()
  network, params = hand_made()
  subject = subject_of(network, params, survey)
  draws = Draws.of(survey, 60, 0)
  return pruning.prune(subject, survey, draws, SETTINGS, 2, compaction.kernels(params)), survey, draws


# --- Orders -------------------------------------------------------------------------------------------------------


def test_sizes_go_from_all_filters_to_one_in_each_layer():
  network, _ = own()
  sizes = pruning.path_sizes(network, 30)
  assert sizes.tolist() == list(range(12, 2, -1))
  few = pruning.path_sizes(network, 3)
  assert few.tolist() == [12, 6, 3]
  assert pruning.claimed_size(network) == 3
  ratios = few[:-1] / few[1:]
  np.testing.assert_allclose(ratios, 2)


def test_slopes_are_those_of_finite_differences():
  network, params = own()
  field, label = random_field(8), np.tile([1.0, 0.0], 4)
  kept = np.ones(12)
  slopes = pruning._slopes(
    params,
    jnp.asarray(field[:, 4:20, 4:20]),
    jnp.asarray(label, jnp.float32),
    jnp.asarray(kept, jnp.float32),
    network=network,
  )
  step = 0.001  # Kinks of the ReLU lie near.
  for number in range(12):
    variants = np.stack([kept, kept])
    variants[:, number] += [step, -step]
    losses = offset_losses(label, masked_logits(network, params, field, variants).astype(float)).mean(axis=1)
    assert slopes[number] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=0.01, abs=5e-4)


def test_every_order_spares_the_last_filter_of_a_layer():
  network, params = own()
  field, label = random_field(8), np.tile([1, 0], 4)
  sizes = list(range(12, 2, -1))
  paths = [
    pruning.eliminate(network, params, field, label, sizes, 4),
    pruning.follow(network, np.random.default_rng(0).permutation(12), sizes),
    pruning.follow(network, pruning.magnitude_ranking(compaction.kernels(params)), sizes),
  ]
  for path in paths:
    assert path.sum(axis=1).tolist() == sizes
    assert all(np.all(later <= before) for before, later in itertools.pairwise(path))
    np.testing.assert_array_equal(np.bincount(filter_layers(network)[path[-1]]), [1, 1, 1])


def test_among_the_filters_that_are_tried_the_one_goes_that_costs_least():
  network, params = own()
  field, label = random_field(12), np.tile([1, 0], 6)
  path = pruning.eliminate(network, params, field, label, range(12, 6, -1), 12)  # All are tried.
  for kept, after in itertools.pairwise(path):
    (dropped,) = np.flatnonzero(kept & ~after)
    variants = np.tile(kept, (12, 1)) & ~np.eye(12, dtype=bool)
    losses = offset_losses(label, masked_logits(network, params, field, variants)).mean(axis=1)
    spare = kept & (np.bincount(filter_layers(network)[kept])[filter_layers(network)] > 1)
    assert losses[dropped] <= losses[spare].min() + 1e-6


def test_filters_that_say_nothing_go_first():
  network, params = hand_made()
  survey = strong_survey()
  path = pruning.eliminate(network, params, survey.field[:16], survey.label[:16], [7, 4, 2], 2)
  assert np.flatnonzero(path[-1]).tolist() == list(NAMED)


def test_magnitude_is_relative_to_the_layer():
  first, second = np.array([[1.0, -2.0, 3.0]]), np.array([[0.5, 1.0]])
  # Relative to the means, 2 and 0.75, they are 0.5, 1, 1.5 and 0.67, 1.33.
  assert pruning.magnitude_ranking([first, second]).tolist() == [0, 3, 1, 4, 2]
  assert pruning.magnitude_ranking([first, 1000 * second]).tolist() == [0, 3, 1, 4, 2]


@pytest.mark.parametrize(
  ('losses', 'stopped'),
  [
    # Mean differences and their errors: 0.1 and 0.05 is worse, 0.075 and 0.125 is not, 1 and 0 is.
    ([[1.0, 2.0], [1.05, 2.15], [0.95, 2.2], [2.0, 3.0]], 2),
    ([[1.0, 2.0], [1.1, 2.1]], 0),
    ([[1.0, 2.0], [0.9, 1.9]], 1),
    ([[1.0], [1.1], [0.9]], 2),
  ],
)
def test_stopping_rule(losses, stopped):
  assert pruning.stop(np.array(losses)) == stopped


# --- All of it ----------------------------------------------------------------------------------------------------


def test_pruning_finds_the_filters_that_carry_everything(pruned):
  found, _, _ = pruned
  assert np.flatnonzero(found.minimal).tolist() == list(NAMED)
  greedy = found.order == GREEDY
  assert found.scores.test_tss[0, 0] > 0.5
  # What is dropped carried nothing, so that nothing is lost on the way.
  np.testing.assert_array_equal(found.scores.test_tss[greedy], np.tile(found.scores.test_tss[0], (greedy.sum(), 1)))


def test_the_effect_is_what_a_quarter_keeps_and_a_random_quarter_loses(pruned):
  found, _, _ = pruned
  size = pruning.claimed_size(found.subject.network)
  assert size == 2
  drawn = (found.order == RANDOM) & (found.kept.sum(axis=1) == size)
  assert drawn.sum() == SETTINGS.random_orders
  # Random pairs of filters have the skill of the full network where they are the two that carry it, else none.
  full = found.scores.test_tss[0]
  right = np.all(found.kept[drawn] == found.minimal, axis=1).mean()
  assert 0 < right < 0.5
  np.testing.assert_allclose(found.samples[FEW.name], full * (1 - right))


def test_skill_that_only_the_pruned_network_has_is_not_counted():
  # The filter of the negative field speaks against the positive one: together they know nothing.
  survey = strong_survey()
  network, params = hand_made()
  layers = params['params']
  layers['convolution_0']['kernel'] = layers['convolution_0']['kernel'].at[1, 1, 0].set(jnp.array([-1.0, 1.0, 0.0]))
  layers['convolution_0']['kernel'] = layers['convolution_0']['kernel'].at[..., 2].set(0).at[1, 1, 0, 2].set(0.1)
  layers['convolution_1']['kernel'] = jnp.zeros((1, 1, 3, 4)).at[0, 0, 1, 2].set(1).at[0, 0, 0, 3].set(1)
  layers['logit']['kernel'] = jnp.array([[0.0], [0.0], [5.0], [-5.0]])
  found = pruning.prune(subject_of(network, params, survey), survey, Draws.of(survey, 20, 0), SETTINGS)
  assert found.scores.test_tss[1, 0] > 0.5 > found.scores.test_tss[0, 0] + 0.2
  assert found.samples[FEW.name][0] < 0.2


def test_a_foreign_network_is_pruned():
  survey = strong_survey(size=16)
  module = Foreign()
  params = initial(module, survey.field)
  network = adapt(module, params, survey.field[:2], 1.39)
  found = pruning.prune(subject_of(network, params, survey), survey, Draws.of(survey, 20, 0), SETTINGS, 1)
  assert found.kept[0].all() and found.kept.shape[1] == 7
  assert set(found.order) == {GREEDY, RANDOM}
  assert np.isfinite(found.samples[FEW.name]).all()


def test_the_same_seed_gives_the_same(pruned):
  found, survey, draws = pruned
  again = pruning.prune(found.subject, survey, draws, SETTINGS, 2, compaction.kernels(found.subject.params))
  np.testing.assert_array_equal(found.kept, again.kept)
  other = pruning.prune(found.subject, survey, Draws.of(survey, 60, 1), SETTINGS, 2)
  drawn = found.order == RANDOM
  assert np.any(found.kept[drawn] != other.kept[other.order == RANDOM])


def test_the_path_is_told_of_every_network_and_of_all(pruned):
  found, survey, draws = pruned
  network, params = found.subject.network, jax.tree.map(lambda leaf: 0 * leaf, found.subject.params)
  blind = pruning.prune(
    subject_of(network, params, survey, 'blind'), survey, draws, SETTINGS, 2, compaction.kernels(params)
  )
  table = pruning.path_table([found, blind], draws)
  mean = table[table['member'] == MEAN]
  own_rows = table[(table['member'] == 'one') & (table['order'] == GREEDY)]
  assert mean['n_filters'].tolist() == own_rows['n_filters'].tolist()
  np.testing.assert_allclose(mean['test_tss'], own_rows['test_tss'] / 2)  # The other one has no skill.
  assert np.all(table['gain'][table['n_filters'] == 7] == 0)
  assert np.all(table['test_tss_low'] <= table['test_tss_high'])
  assert table['chosen'].sum() == 2 and own_rows['filters'][own_rows['chosen']].tolist() == ['0100010']
  assert np.count_nonzero((table['order'] == MAGNITUDE) & (table['member'] == 'one')) == 3
  result = pruning.pruned_table([found, blind], draws)
  assert result['member'].tolist() == ['one', 'blind', MEAN]
  assert result['n_filters_left'].tolist() == [2, 2, 2]
  np.testing.assert_allclose(result['effect'][2], np.mean(result['effect'][:2]))
  np.testing.assert_allclose(result['gain'], 0)


def test_what_cannot_be_pruned():
  survey = strong_survey(pairs=6)
  draws = Draws.of(survey, 20, 0)
  network, params = hand_made()
  subject = subject_of(network, params, survey.replace(label=np.ones_like(survey.label)))
  with pytest.raises(UserError, match='training magnetograms of one are all of one class'):
    pruning.prune(subject, survey.replace(label=np.ones_like(survey.label)), draws, SETTINGS)
  settings, params = polarity_flux()
  kernel = params['params']['convolution_0']['kernel'][..., :1]
  one = {'params': {**params['params'], 'convolution_0': {'kernel': kernel, 'bias': np.zeros(1)}}}
  alone = type(network)(network.model.clone(settings=type(settings)(**{**vars(settings), 'widths': (1,)})))
  with pytest.raises(UserError, match='nothing to prune'):
    pruning.prune(subject_of(alone, one, survey), survey, draws, SETTINGS)


@pytest.mark.parametrize('change', [{'order_maps': 0}, {'sizes': 1}, {'checked': 0}, {'random_orders': 0}])
def test_settings_that_leave_nothing_to_do(change):
  with pytest.raises(UserError, match='Pruning needs'):
    PruningSettings(**change)
