"""Seeds, device, threads, time: what every chapter does before its first line of science."""

from __future__ import annotations

import os
import platform
import random
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn


def threads() -> int:
    """Threads of a run: BOOK_THREADS, or one.

    One thread gives the same numbers whatever else the machine does; a reader's own runs
    may take more. ValueError where BOOK_THREADS is no whole number of at least 1.
    """
    wanted = os.environ.get("BOOK_THREADS", "1")
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"BOOK_THREADS must be a whole number >= 1, not {wanted!r}")
    return int(wanted)


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Python, NumPy and torch and return a generator for the chapter's own draws.

    Two runs on one machine then print the same numbers: the threads of torch and of the
    linear algebra under NumPy are fixed (`threads`); on CUDA, float32 stays exact (no
    TF32) and deterministic kernels are taken where they exist.
    """
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, not {seed!r}")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads())
    threadpool_limits(threads())
    exact_arithmetic(device())
    return np.random.default_rng(seed)


def exact_arithmetic(on: torch.device) -> None:
    """Turn TF32 off and, on CUDA, ask for deterministic kernels (a warning where none is)."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if on.type == "cuda":  # cuBLAS reads this when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(on.type == "cuda", warn_only=True)


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


@cache
def processor() -> str:
    """The processor's model and the instructions that torch uses on it."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    except OSError:  # not Linux
        pass
    # a cloud gives several processors one name: family, model and stepping tell them apart
    kind = "/".join(facts.get(k, "") for k in ("cpu family", "model", "stepping"))
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name} {kind.strip('/')} {torch.backends.cpu.get_cpu_capability()}"


def environment() -> dict[str, str | int]:
    """Device, processor, threads and versions: what decides a run's last digits."""
    on = device()
    return {
        "device": torch.cuda.get_device_name(0) if on.type == "cuda" else on.type,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": version("scipy"),
        "scikit-image": version("scikit-image"),
        "python": platform.python_version(),
    }


def environment_card() -> None:
    """Print the environment in one line."""
    print(" | ".join(f"{key} {value}" for key, value in environment().items()))


def synchronise(on: torch.device) -> None:
    """Wait until a GPU has finished: its kernels run on after the call returns."""
    if on.type == "cuda":
        torch.cuda.synchronize(on)
    elif on.type == "mps":
        torch.mps.synchronize()


class Timer:
    """`with Timer() as t: ...` and then `t.seconds`."""

    def __enter__(self) -> Timer:
        synchronise(device())
        self.start = time.perf_counter()
        return self

    def __exit__(self, *exception) -> None:
        synchronise(device())
        self.seconds = time.perf_counter() - self.start
