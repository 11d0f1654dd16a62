"""What a network costs: parameters, multiply-adds, seconds."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from utils.runtime import synchronise

_aten = torch.ops.aten
_MORE = {  # products that torch's table of formulas lacks: shapes -> operations
    _aten.mv: lambda matrix, vector, **_: 2 * prod(matrix),
    _aten.mkldnn_rnn_layer: lambda x, w, u, *_, **__: _recurrent(x, [w, u]),
    _aten._cudnn_rnn: lambda x, weights, *_, **__: _recurrent(x, weights),
}


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters, shared ones counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@torch.no_grad()
def multiply_adds(model: nn.Module, *input_shape: int) -> int:
    """Multiply-adds of one forward pass of ONE input, in evaluation mode.

    Counts what torch's ``FlopCounterMode`` sees, halved: convolutions, linear layers,
    matrix products, attention and recurrent layers, as modules or as functions. Biases,
    element-wise operations, pooling and interpolation count nothing. ``input_shape`` has
    no batch axis: ``multiply_adds(net, 3, 224, 224)``. Works on torch's meta device,
    where it costs neither memory nor time; modes and buffers stay as they are.
    """
    one = _home(model).new_zeros(1, *input_shape)
    with (_evaluation(model), sdpa_kernel(SDPBackend.MATH),  # fused attention hides its own
          FlopCounterMode(display=False, custom_mapping=_MORE) as counter):
        model(one)
    return counter.get_total_flops() // 2


@torch.no_grad()
def latency(model: nn.Module, *input_shape: int, batch: int = 1,
            repeats: int = 30) -> float:
    """Median seconds of one forward pass of ``batch`` inputs, in evaluation mode.

    ``input_shape`` has no batch axis. Five passes are made before the clock starts; a
    GPU has finished before it starts and before it stops. Runs with as many threads as
    torch has now. Raises ValueError for ``batch`` or ``repeats`` below 1.
    """
    if batch < 1 or repeats < 1:
        raise ValueError(f"expected batch and repeats of at least 1, found {batch}, {repeats}")
    home, seconds = _home(model), []
    images = torch.rand(batch, *input_shape, device=home.device, dtype=home.dtype)
    if images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    with _evaluation(model):
        for _ in range(5):
            model(images)
        synchronise(images.device)
        for _ in range(repeats):
            start = time.perf_counter()
            model(images)
            synchronise(images.device)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _home(model: nn.Module) -> Tensor:
    """A tensor of the device and type that the model's input needs."""
    return next(model.parameters(), torch.zeros(()))


@contextlib.contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module then has its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _recurrent(x: torch.Size, weights: list[torch.Size]) -> int:
    """Each matrix of a fused recurrent layer meets each step of (steps, batch, features)."""
    return 2 * prod(x[:-1]) * sum(prod(w) for w in weights if len(w) == 2)
