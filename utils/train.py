"""One plain training loop. The step, where a paper's loss lives, stays in the chapter."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from utils import runtime


def batches(*tensors: Tensor, size: int, seed: int,
            augment: Callable[..., tuple] | None = None) -> Iterator[tuple[Tensor, ...]]:
    """Endless shuffled mini-batches of `size` rows, the same rows of every tensor.

    Each pass visits every row once before any row comes again (an incomplete last
    batch is dropped). `augment(generator, *batch)` may change a batch; it draws from the
    torch generator that it is given, so that the seed fixes everything.
    """
    rows = len(tensors[0])
    if any(len(t) != rows for t in tensors):
        raise ValueError(f"all tensors need {rows} rows: {[len(t) for t in tensors]}")
    if not 1 <= size <= rows:
        raise ValueError(f"batch size must be 1..{rows} (the rows at hand), not {size}")
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(rows, generator=generator)
        for start in range(0, rows - size + 1, size):
            chosen = order[start:start + size]
            batch = tuple(t[chosen.to(t.device)] for t in tensors)
            yield augment(generator, *batch) if augment else batch


def random_quarter_turns(generator: torch.Generator, *batch: Tensor) -> tuple:
    """Flip and turn a batch of (N, ..., S, S) tensors by one random quarter turn."""
    turns, flip = torch.randint(4, (2,), generator=generator).tolist()
    turned = (torch.rot90(t, turns, (-2, -1)) for t in batch)
    return tuple(t.flip(-1) if flip % 2 else t for t in turned)


@dataclass
class History:
    """Losses of a run: `losses[name]` has one number per step."""

    losses: dict[str, list[float]] = field(default_factory=dict)

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.losses.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        total = self.losses.get("loss", [])
        tenth = max(1, len(total) // 10)
        first, last = (sum(part) / tenth for part in (total[:tenth], total[-tenth:]))
        return f"{len(total)} steps: mean loss {first:.3f} at first, {last:.3f} at last"


def cosine(progress: float) -> float:
    """Learning-rate factor from 1 to 0 after a short linear warm-up; progress in 0..1."""
    warm = min(1.0, progress / 0.05 + 0.05)
    return warm * 0.5 * (1 + math.cos(math.pi * progress))


def fit(model: nn.Module, step: Callable[..., Tensor | dict[str, Tensor | float]],
        source: Iterable[tuple], *, steps: int, lr: float = 2e-3,
        optimizer: torch.optim.Optimizer | None = None,
        schedule: Callable[[float], float] = cosine, label: str = "",
        after_step: Callable[[nn.Module, int], Any] | None = None) -> History:
    """Train `model` in place for `steps` steps and return its History.

    `step(model, *batch)` returns the loss to minimise, or a dict whose entry "loss" is
    minimised while the others, scalar tensors or floats, are only recorded. The
    optimiser is Adam at `lr` unless one is given; `schedule(progress)` scales its
    learning rates. `after_step(model, number)` follows each step of the optimiser, with
    the number of steps made (1 to `steps`): pruning masks, averaged or clipped weights.
    The same code runs on a CPU and a GPU: the batches are where the chapter put its
    tensors. Errors: a ValueError for a source that ends before `steps` batches or a dict
    without "loss", a FloatingPointError for a loss that is not finite.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=lr)
    scale = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: schedule(n / steps))
    history, stream = History(), iter(source)
    quiet = runtime.is_static() or not sys.stderr.isatty() and "ipykernel" not in sys.modules
    model.train()
    for number in tqdm(range(1, steps + 1), desc=label, disable=quiet, leave=False):
        batch = next(stream, None)
        if batch is None:
            raise ValueError(
                f"the source ended after {number - 1} batches, {steps} steps were asked "
                "for: train.batches(...) never ends"
            )
        values = step(model, *batch)
        values = values if isinstance(values, dict) else {"loss": values}
        if "loss" not in values:
            raise ValueError(f"the step's dict needs an entry 'loss', not only {[*values]}")
        if not torch.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the loss of {label or type(model).__name__} is {values['loss'].item()} "
                f"after {number - 1} steps: lower the learning rate, or look for a "
                "division by zero in the step"
            )
        optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        optimizer.step()
        scale.step()
        if after_step is not None:
            after_step(model, number)
        history.add({name: value.item() if isinstance(value, Tensor) else float(value)
                     for name, value in values.items()})
    model.eval()
    return history


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, size: int = 64) -> Tensor | list[Tensor]:
    """Run a model over many images in batches; concatenate its outputs.

    A model that returns a list of tensors gives a list of concatenated tensors.
    """
    model.eval()
    parts = [model(images[i:i + size]) for i in range(0, len(images), size)]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return [torch.cat(column) for column in zip(*parts)]
