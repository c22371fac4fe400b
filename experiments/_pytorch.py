"""The same network and training step in PyTorch, for `benchmark` alone: what hearjax is measured against.

PyTorch is no requirement; this module is imported only where it is installed.
"""

import copy
from collections.abc import Iterator

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hearjax.model import EmergenceNetwork, central_window, same_padding
from hearjax.training import Params, TrainSettings


class Network(nn.Module):
  """`hearjax.model.EmergenceNetwork` without symmetries, layer for layer, with the parameters of a Flax network."""

  def __init__(self, model: EmergenceNetwork, params: Params, size: int):
    """Copies a network for maps of `size` x `size` px."""
    super().__init__()
    settings = model.settings
    if settings.symmetries:
      raise ValueError(f'The comparison knows no symmetries, got {settings.symmetries}.')
    self.settings, self.visible = settings, settings.visible_px(size)
    self.pads, side = [], self.visible
    self.convolutions = nn.ModuleList()
    for number, (kernel, stride) in enumerate(zip(settings.kernels, settings.strides, strict=True)):
      of_layer = jax.tree.map(np.array, params['params'][f'convolution_{number}'])
      layer = nn.Conv2d(*of_layer['kernel'].shape[2:], kernel, stride)
      layer.weight.data = torch.from_numpy(of_layer['kernel'].transpose(3, 2, 0, 1).copy())
      layer.bias.data = torch.from_numpy(of_layer['bias'])
      before, side, after = same_padding(side, kernel, stride)
      self.pads.append((before, after, before, after))
      self.convolutions.append(layer)
    dense = jax.tree.map(np.array, params['params']['logit'])
    self.logit = nn.Linear(*dense['kernel'].shape)
    self.logit.weight.data = torch.from_numpy(dense['kernel'].T.copy())
    self.logit.bias.data = torch.from_numpy(dense['bias'])
    if settings.centre_mm:
      positions = settings.positions_px(self.visible) * model.pixel_scale_mm
      window = central_window(positions, positions, settings.centre_mm)
      self.register_buffer('window', torch.from_numpy(window.astype(np.float32)))

  def forward(self, field: torch.Tensor) -> torch.Tensor:
    """Returns `[batch]` logits of `[batch, y, x]` field [G], NaN where missing."""
    return self.read_out(self.features(self.prepare(field)))

  def prepare(self, field: torch.Tensor) -> torch.Tensor:
    settings = self.settings
    first = (field.shape[-1] - self.visible) // 2
    field = field[:, first : first + self.visible, first : first + self.visible]
    field = torch.nan_to_num(field, nan=0.0).clip(-settings.limit_gauss, settings.limit_gauss)
    return (field / settings.scale_gauss)[:, None]

  def features(self, maps: torch.Tensor) -> torch.Tensor:
    for pad, convolution in zip(self.pads, self.convolutions, strict=True):
      if len(set(pad)) == 1:  # An even padding is the convolution's own, which spares a copy.
        maps = functional.conv2d(maps, convolution.weight, convolution.bias, convolution.stride, pad[0])
      else:
        maps = convolution(functional.pad(maps, pad))
      maps = functional.relu(maps)
    return maps

  def read_out(self, maps: torch.Tensor) -> torch.Tensor:
    pooled = [maps.mean(dim=(2, 3))]
    if self.settings.centre_mm:
      pooled.append(torch.einsum('bcyx,yx->bc', maps, self.window))
    pooled = torch.cat(pooled, dim=1)
    if self.settings.log_pool:
      pooled = torch.log1p(pooled / self.settings.log_pool)
    return self.logit(pooled)[:, 0]


class Trainer:
  """The training step of `hearjax.training`, without augmentation: AdamW, clipped gradient, averaged parameters."""

  def __init__(self, network: Network, settings: TrainSettings, steps: int, compiled: bool):
    self.network, self.settings = network, settings
    self.average = copy.deepcopy(network)
    self.forward = torch.compile(network) if compiled else network
    self.optimizer = torch.optim.AdamW(
      network.parameters(),
      lr=settings.learning_rate,
      betas=(0.9, 0.99),
      weight_decay=settings.weight_decay,
      fused=True,
    )
    warm = max(1, steps // 10)
    self.schedule = torch.optim.lr_scheduler.SequentialLR(
      self.optimizer,
      [
        torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.1, total_iters=warm),
        torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, max(1, steps - warm)),
      ],
      [warm],
    )

  def step(self, field: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Takes one step on `[batch, y, x]` field [G] and `[batch]` label; returns the loss."""
    self.optimizer.zero_grad(set_to_none=True)
    loss = functional.binary_cross_entropy_with_logits(self.forward(field), label)
    loss.backward()
    parameters = list(self.network.parameters())
    nn.utils.clip_grad_norm_(parameters, 1.0)
    self.optimizer.step()
    self.schedule.step()
    with torch.no_grad():
      torch._foreach_lerp_(list(self.average.parameters()), parameters, 1 - self.settings.average_decay)
    return loss.detach()


def single_filter_sweep(network: Network, field: torch.Tensor) -> Iterator[torch.Tensor]:
  """Yields `[n]` logits with every filter dropped alone, by a hook on its layer: a whole forward pass each."""
  for convolution in network.convolutions:
    for dropped in range(convolution.out_channels):

      def drop(module, inputs, output, dropped=dropped):
        output = output.clone()
        output[:, dropped] = 0
        return output

      hook = convolution.register_forward_hook(drop)
      with torch.inference_mode():
        yield network(field)
      hook.remove()
