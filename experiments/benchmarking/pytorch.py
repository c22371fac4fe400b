"""The same network and training step in PyTorch, for `benchmark` alone: what hearjax is measured against.

PyTorch is no requirement; this module is imported only where it is installed.
"""

import copy
import os
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hearjax.checks import UserError
from hearjax.models.convolution import edges
from hearjax.models.network import EmergenceNetwork, central_window
from hearjax.survey.fold_rows import FoldRows
from hearjax.survey.survey import Survey
from hearjax.training.group import member_key
from hearjax.training.loop import epoch_batches
from hearjax.training.settings import RunSettings, TrainSettings
from hearjax.training.step import Params

DEVICE = 'cuda' if jax.default_backend() == 'gpu' and torch.cuda.is_available() else 'cpu'
# Memory format of the network, and whether it is compiled.
FORMS = {
  'PyTorch, channels last': (torch.channels_last, False),
  'PyTorch, channels first': (torch.contiguous_format, False),
  'PyTorch, channels last, compiled': (torch.channels_last, True),
  'PyTorch, channels first, compiled': (torch.contiguous_format, True),
}
torch.set_num_threads(os.cpu_count() or 1)  # As many as XLA uses.


class Network(nn.Module):
  """`hearjax.model.EmergenceNetwork` without symmetries, layer for layer, with the parameters of a Flax network."""

  def __init__(self, model: EmergenceNetwork, params: Params, size: int):
    """Copies a network for maps of `size` x `size` px."""
    super().__init__()
    settings = model.settings
    if settings.symmetries:
      raise UserError(f'The comparison knows no symmetries, got {settings.symmetries}.')
    self.settings, self.visible = settings, settings.visible_px(size)
    self.pads, side = [], self.visible
    self.convolutions = nn.ModuleList()
    for number, (kernel, stride) in enumerate(zip(settings.kernels, settings.strides, strict=True)):
      of_layer = jax.tree.map(np.array, params['params'][f'convolution_{number}'])
      layer = nn.Conv2d(*of_layer['kernel'].shape[2:], kernel, stride)
      layer.weight.data = torch.from_numpy(of_layer['kernel'].transpose(3, 2, 0, 1).copy())
      layer.bias.data = torch.from_numpy(of_layer['bias'])
      before, side, after = edges(side, kernel, stride, settings.padding)
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


def build(model: EmergenceNetwork, params: Params, size: int, form: torch.memory_format) -> Network:
  """Returns the network on the device, in a memory format."""
  return Network(model, params, size).to(DEVICE, memory_format=form)


def wait() -> None:
  """Waits for the device."""
  if DEVICE == 'cuda':
    torch.cuda.synchronize()


def step_cases(model: EmergenceNetwork, params: Params, field: np.ndarray, times: int) -> dict[str, Callable]:
  """Returns a case of some training steps on `[batch, y, x]` field [G] for each of `FORMS` that works here."""
  maps = torch.from_numpy(field).to(DEVICE)
  label = (torch.arange(len(field), device=DEVICE) % 2).float()

  def case(form: torch.memory_format, compiled: bool) -> Callable:
    trainer = Trainer(build(model, params, field.shape[-1], form), TrainSettings(), 10_000, compiled)

    def run() -> None:
      for _ in range(times):
        trainer.step(maps, label)
      wait()

    return run

  return _working(case)


def inference_cases(model: EmergenceNetwork, params: Params, field: np.ndarray, times: int) -> dict[str, Callable]:
  """Returns a case of the logits of `[batch, y, x]` field [G], some times over, for each of `FORMS` that works here."""
  maps = torch.from_numpy(field).to(DEVICE)

  def case(form: torch.memory_format, compiled: bool) -> Callable:
    network = build(model, params, field.shape[-1], form)
    forward = torch.compile(network) if compiled else network

    @torch.inference_mode()
    def run() -> None:
      for _ in range(times):
        forward(maps)
        wait()

    return run

  return _working(case)


def _working(case: Callable[[torch.memory_format, bool], Callable]) -> dict[str, Callable]:
  cases = {}
  for name, form in FORMS.items():
    run = case(*form)
    try:
      run()
    except torch._dynamo.exc.BackendCompilerFailed:  # A compiled one needs a C++ compiler.
      print(f'Left out: {name}, which cannot be compiled here.')
      continue
    cases[name] = run
  return cases


def sweep_cases(
  model: EmergenceNetwork, params: Params, field: np.ndarray, chunk: int = 64
) -> dict[str, Callable[[], object]]:
  """Returns a case of `single_filter_sweep` over `[n, y, x]` field [G], a chunk at a time, for each memory format."""
  chunks = torch.from_numpy(field).to(DEVICE).split(chunk)

  def case(form: torch.memory_format) -> Callable[[], object]:
    network = build(model, params, field.shape[-1], form)
    return lambda: [[logits.cpu() for logits in single_filter_sweep(network, maps)] for maps in chunks]

  return {f'{name}, hooks': case(form) for name, (form, compiled) in FORMS.items() if not compiled}


def cross_validate(model: EmergenceNetwork, survey: Survey, rows: Sequence[FoldRows], settings: RunSettings) -> None:
  """Trains every member one after the other, as `hearjax.fit` does without augmentation, and tests it.

  Validation is the loss after every epoch; neither the best parameters are kept nor a threshold is chosen.
  """
  field = torch.from_numpy(np.array(survey.field)).to(DEVICE)
  label = torch.from_numpy(np.array(survey.label, np.float32)).to(DEVICE)
  train = settings.training
  steps = max(1, max(len(fold.train) for fold in rows) // train.batch_size)
  for number, fold in enumerate(rows):
    for seed in range(settings.seeds):
      key = member_key(settings.seed, number, seed)
      params = model.init(key, survey.field[:1])
      network = build(model, params, field.shape[-1], torch.channels_last)
      trainer = Trainer(network, train, train.epochs * steps, compiled=False)
      for epoch in range(train.epochs):
        for batch in epoch_batches(key, epoch, fold.train, steps, train.batch_size):
          batch = torch.from_numpy(batch)
          trainer.step(field[batch], label[batch])
        _evaluate(trainer.average, field, fold.validation, train.batch_size)
      _evaluate(trainer.average, field, np.concatenate([fold.test, fold.train, fold.validation]), train.batch_size)
  wait()


@torch.inference_mode()
def _evaluate(network: Network, field: torch.Tensor, rows: np.ndarray, batch_size: int) -> torch.Tensor:
  return torch.cat([network(field[batch]) for batch in torch.from_numpy(rows).split(batch_size)])


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
