"""Pictures with one class each: CIFAR-10."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, from_numpy

from .base import SETS, Folder, read, root

BATCHES = SETS["cifar10"].files  # md5 of each


class LabelledImages(NamedTuple):
    """N pictures with one label each."""
    images: Tensor  # (N, 3, 32, 32) uint8
    labels: Tensor  # (N,) int64 into class_names
    class_names: tuple[str, ...]


def cifar10(split: str = "train", folder: Folder = None, limit: int | None = None, *,
            verify: bool = False) -> LabelledImages:
    """CIFAR-10's "train" (five batches, in order) or "test", the first `limit` images.

    `verify` first compares the official md5 sums, which shortened batches do not pass.
    """
    place = root("cifar10", folder, split, limit)
    meta, *train, test = sorted(BATCHES)
    expected = "a pickle of N x 3072 bytes and N labels, or of ten class names"
    *batches, names = (
        read("cifar10", place / file, expected, _unpickle,
             md5=BATCHES[file] if verify else None)
        for file in (*([test] if split == "test" else train), meta))
    images, labels = (from_numpy(np.concatenate(part)) for part in zip(*batches))
    return LabelledImages(images[:limit], labels[:limit], names)


def _unpickle(file: Path) -> tuple[Any, ...]:
    """Images and labels of a batch, or the names in batches.meta."""
    with file.open("rb") as stream:
        content = _ArraysOnly(stream, encoding="latin1").load()
    if file.name == "batches.meta":
        return tuple(str(content["label_names"][label]) for label in range(10))
    data, labels = np.asarray(content["data"]), np.asarray(content["labels"])
    if data.dtype != np.uint8 or data.shape != (*labels.shape, 3072) or not data.size:
        raise ValueError(f"data {data.dtype} {data.shape}, labels {labels.shape}")
    if not set(labels.tolist()) <= set(range(10)):
        raise ValueError("labels other than 0 to 9")
    return data.reshape(-1, 3, 32, 32), labels.astype(np.int64)


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays and plain values, so that a file cannot call other code."""
    def find_class(self, module: str, name: str) -> Any:
        rebuild = np.empty(0).__reduce__()[0]  # numpy's own, at its private place
        known = {"_reconstruct": rebuild, "ndarray": np.ndarray, "dtype": np.dtype}
        if not module.startswith("numpy") or name not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, refused")
        return known[name]
