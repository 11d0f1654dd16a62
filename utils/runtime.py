"""Seeds, device, time: what every chapter does before its first line of science."""

from __future__ import annotations

import os
import platform
import random
import time

import numpy as np
import torch
from torch import nn

THREADS = 2  # the same on every laptop, so that the book's numbers travel


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Python, NumPy and torch and return a generator for the chapter's own draws.

    Two runs on one machine then print the same numbers: the number of CPU threads is
    fixed (or taken from OMP_NUM_THREADS) and cuDNN is held to deterministic kernels.
    """
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, not {seed!r}")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", THREADS)))
    return np.random.default_rng(seed)


def device() -> torch.device:
    """The fastest device at hand: cuda, then mps (Apple), then cpu.

    BOOK_DEVICE=cpu (or cuda, mps) overrides the choice.
    """
    wanted = os.environ.get("BOOK_DEVICE")
    if wanted:
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def prepare(model: nn.Module, on: torch.device | None = None) -> nn.Module:
    """Move a model to the device with channels-last weights (1.3 to 2x on a CPU)."""
    return model.to(on or device(), memory_format=torch.channels_last)


def is_static() -> bool:
    """True while outputs are being stored for the rendered book (BOOK_STATIC=1)."""
    return os.environ.get("BOOK_STATIC") == "1"


def environment() -> dict[str, str | int]:
    """Device, threads and versions: what a reader needs to compare numbers."""
    on = device()
    name = torch.cuda.get_device_name(0) if on.type == "cuda" else on.type
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def environment_card() -> None:
    """Print the environment in one line."""
    print(" | ".join(f"{key} {value}" for key, value in environment().items()))


class Timer:
    """`with Timer() as t: ...` and then `t.seconds`."""

    def __enter__(self) -> Timer:
        self.start = time.perf_counter()
        return self

    def __exit__(self, *exception) -> None:
        if torch.cuda.is_available():  # kernels run on after the call returns
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self.start
