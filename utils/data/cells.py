"""Cells: touching cells with thin gaps, in the manner of a microscope's picture."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import gaussian_filter

from . import photos


@dataclass(frozen=True)
class Cells(photos.Pictures):
    """N pictures of S x S pixels, as CPU tensors."""
    image: torch.Tensor  # (N, 1, S, S) float32 in 0..1
    mask: torch.Tensor  # (N, S, S) int64, 1 inside a cell, 0 around it and in gaps
    instances: torch.Tensor  # (N, S, S) int64, 0 or 1.. for each cell


def _layout(rng: Generator, radii: np.ndarray, size: int, gap: float) -> tuple:
    """Instances (S, S) and whether a pixel lies in a gap between two discs (S, S).

    Of eight places a disc takes the roomiest. A pixel is in the disc that it is deepest
    in; it is gap within `gap` / 2 of the line where two discs are equally deep.
    """
    discs = np.empty((len(radii), 2))
    for i in range(len(radii)):
        places = rng.uniform(0, size, (8, 2))
        gaps = np.hypot(*(places[:, None] - discs[None, :i]).transpose(2, 0, 1))
        room = (gaps / (radii[:i] + radii[i])).min(axis=1, initial=np.inf)
        discs[i] = places[room.argmax()]
    grid = np.arange(size) + 0.5
    away = np.stack(np.meshgrid(grid, grid))[:, None] - discs.T[:, :, None, None]
    length = np.hypot(*away)  # (discs, S, S)
    depth = length - radii[:, None, None]  # negative inside
    order = np.argpartition(depth, 1, axis=0)[:2]
    near, second = np.take_along_axis(depth, order, axis=0)
    unit = away / np.maximum(length, 1e-6)
    slope = np.diff(np.take_along_axis(unit, order[None], axis=1), axis=1)[:, 0]
    to_line = (second - near) / np.maximum(np.hypot(*slope), 1e-6)
    between = (near < 0) & (to_line < gap / 2)
    instances = np.where((near < 0) & ~between, order[0] + 1, 0)
    kept = np.bincount(instances.ravel()) >= 30  # others hardly show
    kept[0] = False
    return np.where(kept, kept.cumsum(), 0)[instances], between


def cells(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
          count: tuple[int, int] = (7, 12), radius: tuple[float, float] = (7, 13),
          gap: float = 2, noise: float = 0.10) -> Cells:
    """Generate `n` pictures of `size` x `size` pixels; equal arguments, equal bits.

    count: least and greatest number of discs (those nearly hidden are left out).
    radius: range of their radius in pixels; they may reach over the border.
    gap: width in pixels of the background between touching cells, at least 2.
    noise: standard deviation of the Gaussian noise added at the end.
    """
    rng = photos.generator(n, split, size, seed, 16)
    if not 2 <= count[0] <= count[1] or not 3 <= radius[0] <= radius[1]:
        raise ValueError("need 2 <= count low <= high and 3 <= radius low <= high")
    if gap < 2 or noise < 0:
        raise ValueError("need gap >= 2 and noise >= 0")
    image = np.empty((n, 1, size, size), np.float32)
    instances = np.empty((n, size, size), np.int64)
    for i in range(n):
        radii = rng.uniform(*radius, rng.integers(count[0], count[1] + 1))
        instances[i], between = _layout(rng, radii, size, gap)
        tissue = photos.texture(rng, split, "tissue", size, jitter=0).mean(2)
        smooth = gaussian_filter(tissue, 1.5)
        smooth = 0.06 * (smooth - smooth.mean()) / smooth.std()
        cell = np.append(0, rng.uniform(0.10, 0.25, instances[i].max()))[instances[i]]
        line = -0.20 * (between & (instances[i] == 0))
        image[i, 0] = gaussian_filter(0.40 + (cell + line) + smooth, 0.7)
    image += noise * rng.standard_normal(image.shape, np.float32)
    mask = (instances > 0).astype(np.int64)
    return Cells(*map(torch.from_numpy, (image.clip(0, 1), mask, instances)))
