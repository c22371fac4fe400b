import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hearjax.checks import check_finite, check_not_negative, check_positive, check_range
from hearjax.chunks import map_chunks


def rows(n=10):
  return np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)


@pytest.mark.parametrize('chunk', [1, 3, 5, 10, 64])  # Ragged and even, and a chunk larger than all of them.
@pytest.mark.parametrize('threads', [1, 3])
def test_in_chunks_equals_all_at_once(chunk, threads):
  tree = {'value': rows(), 'key': jax.random.split(jax.random.key(0), 10)}

  def function(part):
    return 2 * part['value'], jnp.sum(part['value'], axis=1) + jax.vmap(jax.random.normal)(part['key'])

  for ours, whole in zip(map_chunks(function, tree, chunk, threads=threads), function(tree), strict=True):
    assert isinstance(ours, np.ndarray)
    np.testing.assert_allclose(ours, whole, rtol=1e-6)


def test_results_are_joined_along_the_axis_of_the_rows():
  sums, squares = map_chunks(lambda part: (part.sum(axis=1), part.T**2), rows(), 3, axis=-1)
  np.testing.assert_allclose(sums, rows().sum(axis=1), rtol=1e-6)
  np.testing.assert_array_equal(squares, rows().T ** 2)


def test_a_ragged_last_chunk_compiles_nothing_more():
  traced = []

  @jax.jit
  def function(part):
    traced.append(part.shape)
    return part.sum(axis=1)

  for n in (3, 10, 2):  # Also for another number of rows: the function always sees a whole chunk.
    map_chunks(function, rows(n), 3)
  assert traced == [(3, 4)]


def test_no_row_is_told():
  with pytest.raises(ValueError, match='no map, or no row, was given'):
    map_chunks(lambda part: part, rows(0), 3)


@pytest.mark.parametrize(
  ('check', 'value', 'sentence'),
  [
    (check_finite, np.array([1.0, np.nan]), 'x_mm must be finite, got nan'),
    (check_positive, np.array([1.0, -2.0]), 'x_mm must be positive, got -2'),
    (check_positive, float('inf'), 'x_mm must be finite, got inf'),
    (check_not_negative, -0.5, 'x_mm must be finite and not negative, got -0.5'),
    (check_range, (9.0, 9.0), r'x_mm must be two finite positive numbers, the smaller one first; got \[9.0, 9.0\]'),
    (check_range, (1.0,), 'x_mm must be two'),
  ],
)
def test_checks_name_what_is_wrong(check, value, sentence):
  with pytest.raises(ValueError, match=sentence):
    check('x_mm', value)


def test_checks_let_pass_what_is_right():
  check_positive('x_mm', 3)
  check_not_negative('x_mm', 0.0)
  check_range('x_mm', ())
  check_range('x_mm', (1.0, 2.0))
