"""The programs of training and of sweeps can be built for CUDA and TPU on a machine that has neither."""

import functools

import jax
import pytest
from jax import export

from hearjax.interpret.network import EmergenceAdapter, _contributions, _masked_logits
from hearjax.models.convolution import choose_lowerings
from hearjax.models.network import ModelSettings, build_model
from hearjax.training.loop import _evaluate_in_one_program, _steps_in_one_program
from hearjax.training.settings import TrainSettings
from hearjax.training.step import build_optimizer, create_states, eval_step, train_step

SETTINGS, TRAINING = ModelSettings(), TrainSettings()
TX = build_optimizer(TRAINING, steps_per_epoch=2)
MEMBERS, STEPS, BATCH, MAPS, SIZE = 3, 2, 8, 20, 64
KEYS = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), MEMBERS))
BACKENDS = {'cuda': 'gpu', 'tpu': 'tpu', 'cpu': 'cpu'}  # Names of `jax.export` -> those of backends.


def shape(*axes: int, dtype: str = 'float32') -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(axes, dtype)


def rows(*axes: int) -> jax.ShapeDtypeStruct:
  return shape(*axes, dtype='int32')


def member_of(group):
  """Returns the shapes of one of a group."""
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), group)


def exported(function, platform, *arguments, **static):
  return export.export(jax.jit(functools.partial(function, **static)), platforms=[platform])(*arguments)


# The programs, as `training` and `interpret` call them: each takes model, platform, shapes of a group's states and
# of the maps.


def step(model, platform, group, field):
  static = {'model': model, 'tx': TX, 'settings': TRAINING}
  return exported(train_step, platform, member_of(group), field, rows(BATCH), rows(BATCH), member_of(KEYS), **static)


def evaluation(model, platform, group, field):
  return exported(eval_step, platform, member_of(group.params), field, rows(BATCH), model=model)


def sweep(model, platform, group, field):
  network, filters = EmergenceAdapter(model), tuple(range(sum(SETTINGS.widths)))
  static = {'network': network, 'filters': filters}
  return exported(_contributions, platform, member_of(group.params), field, shape(len(filters)), **static)


def variants(model, platform, group, field):
  masks = shape(5, sum(SETTINGS.widths))
  return exported(_masked_logits, platform, member_of(group.params), field, masks, network=EmergenceAdapter(model))


def group_steps(model, platform, group, field):
  shown, key_data = rows(MEMBERS, STEPS, BATCH), jax.eval_shape(jax.random.key_data, KEYS)
  static = {'model': model, 'tx': TX, 'settings': TRAINING}
  return exported(_steps_in_one_program, platform, group, field, shown, shown, key_data, **static)


def group_evaluation(model, platform, group, field):
  shown = rows(MEMBERS, STEPS, BATCH)
  return exported(_evaluate_in_one_program, platform, group.params, field, shown, model=model)


def export_for(platform, program, lowering, monkeypatch):
  """Exports a program, while nothing may ask for the backend of the host; returns its text."""
  model = build_model(SETTINGS, 1.39, lowering, BACKENDS[platform])
  group = jax.eval_shape(functools.partial(create_states, model, TX, size=SIZE), KEYS)
  with monkeypatch.context() as patch:
    patch.setattr(jax, 'default_backend', lambda: pytest.fail('the program depends on the host'))
    result = program(model, platform, group, shape(MAPS, SIZE, SIZE))
  assert result.platforms == (platform,)
  return result.mlir_module()


def convolutions_of(platform: str, times: tuple[int, ...], differentiated: bool) -> int:
  """Returns how many convolutions a program has in which each layer is computed so many times."""
  channels = (1, *SETTINGS.widths[:-1])
  layers = zip(SETTINGS.strides, channels, times, strict=True)
  ways = [(choose_lowerings(stride, n, BACKENDS[platform])[differentiated], many) for stride, n, many in layers]
  return sum(many for way, many in ways if way in ('lax', 'space_to_depth'))


@pytest.mark.parametrize('platform', BACKENDS)
@pytest.mark.parametrize(
  ('program', 'times', 'beside'),
  [
    (step, (2, 3, 3, 3), 0),  # The layer, the gradient of its kernel, and that of its input but for the map.
    (evaluation, (1, 1, 1, 1), 0),
    (sweep, (1, 2, 3, 4), 3),  # Activations, sums, and each layer above a dropped filter; beside them, what it adds.
    (variants, (1, 1, 1, 1), 0),
  ],
)
def test_a_program_of_one_network_has_the_lowering_of_its_target(platform, program, times, beside, monkeypatch):
  text = export_for(platform, program, 'auto', monkeypatch)
  expected = convolutions_of(platform, times, differentiated=program is step) + beside
  assert text.count('stablehlo.convolution') == expected
  if platform == 'cpu':
    assert expected < sum(times) + beside, 'on the host the lowering is another one'
  else:
    assert expected == sum(times) + beside


@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
@pytest.mark.parametrize('program', [group_steps, group_evaluation])
def test_a_program_of_members_side_by_side_is_of_matrix_products(platform, program, monkeypatch):
  text = export_for(platform, program, 'patches', monkeypatch)  # As `fit` chooses for them.
  assert 'stablehlo.convolution' not in text
  assert text.count('stablehlo.dot_general') >= len(SETTINGS.widths)
