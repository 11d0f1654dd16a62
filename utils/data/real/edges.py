"""Photographs with the outlines that people drew: BSDS500."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat
from torch import Tensor, as_tensor, from_numpy

from .base import Folder, pairs, pixels, read, root


class EdgeImage(NamedTuple):
    """A photograph and the lines of its K annotators."""
    name: str
    image: Tensor  # (H, W, 3) uint8
    boundaries: Tensor  # (K, H, W) uint8, 1 on a line


def bsds500(split: str = "train", folder: Folder = None,
            limit: int | None = None) -> list[EdgeImage]:
    """BSDS500's "train", "val" or "test" by name, the first `limit` images of it."""
    place, items = root("bsds500", folder, split, limit), []
    folders = place / "images" / split, place / "groundTruth" / split
    for file, truth in pairs("bsds500", *folders, ".mat")[:limit]:
        image = read("bsds500", file, "a JPEG", pixels)
        expected = "maps of {} x {} in MATLAB's groundTruth cell".format(*image.shape)
        lines = read("bsds500", truth, expected, _boundaries, image.shape[:2])
        items.append(EdgeImage(file.stem, *map(from_numpy, (image, lines))))
    return items


def _boundaries(file: Path) -> np.ndarray:
    cells = loadmat(file)["groundTruth"].ravel()  # (1, K) as published, or (K, 1)
    return np.stack([cell["Boundaries"][0, 0] > 0 for cell in cells]).astype(np.uint8)


def consensus(boundaries: Tensor | np.ndarray, votes: int = 3) -> Tensor:
    """Pixels that enough annotators marked: (K, H, W) to (H, W) bool.

    `votes` is out of five, as in HED; for any K a share of (votes - 0.5) / 5 is enough.
    """
    if not 1 <= votes <= 5:
        raise ValueError(f"votes must be 1 to 5 (of five), got {votes!r}")
    marked = as_tensor(boundaries)
    if marked.ndim != 3 or not len(marked):
        raise ValueError(f"need boundaries (K, H, W), got {tuple(marked.shape)}")
    return 10 * (marked > 0).sum(0) >= (2 * votes - 1) * len(marked)
