"""How programs of convolutions are compiled."""

import functools
from collections.abc import Callable
from typing import Any

import jax


@functools.cache
def compiler_options() -> dict[str, str]:
  """Returns what `jax.jit` at the top level should be given for a program of convolutions outside loops.

  On a CPU, XLA's default library YNNPACK keeps a convolution on one core. Without it Eigen shares it among all, which
  makes a training step about a quarter faster on two cores; inside loops YNNPACK is the faster one. Empty on
  accelerators, and where XLA does not know the option.
  """
  if jax.default_backend() != 'cpu':
    return {}
  options = {'xla_cpu_experimental_ynn_fusion_type': ''}
  try:
    jax.jit(lambda: 0, compiler_options=options).lower().compile()
  except RuntimeError:
    return {}
  return options


def jit_convolutions(*static: str) -> Callable[[Callable], Callable]:
  """Returns a decorator like `jax.jit`, with `compiler_options`; for functions that no other program calls.

  The options are looked up when the function is first called, since that starts the backend. The jitted function itself
  is what `compiled()` of the decorated one returns.

  Args:
    *static: Names of static arguments.
  """

  def decorate(function: Callable) -> Callable:
    @functools.cache
    def compiled() -> Any:
      return jax.jit(function, static_argnames=static, compiler_options=compiler_options())

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
      return compiled()(*arguments, **named)

    call.compiled = compiled
    return call

  return decorate
