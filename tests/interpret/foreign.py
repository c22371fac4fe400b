"""A network of another program: convolutions and ReLUs in Linen, not made by hearjax."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from hearjax.interpret.network import with_channel


class Foreign(nn.Module):
  """Two layers of convolutions, one of them within a module of its own, a maximum, two dense layers."""

  widths: Sequence[int] = (3, 4)

  @nn.compact
  def __call__(self, maps):
    maps = nn.relu(nn.Conv(self.widths[0], (5, 5), strides=2, name='first')(maps / 100))
    maps = Block(self.widths[1], name='block')(maps)
    pooled = jnp.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=-1)
    return nn.Dense(1)(nn.tanh(nn.Dense(8)(pooled)))


class Block(nn.Module):
  width: int

  @nn.compact
  def __call__(self, maps):
    return nn.relu(nn.Conv(self.width, (3, 3))(maps))


def initial(module, field):
  """Returns parameters, their biases not 0, as after training."""
  params = jax.jit(module.init)(jax.random.key(5), with_channel(field[:1]))
  return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params)
