"""Strokes: two curves that do not touch, and a dot at the end of one: same stroke or not?

Both strokes look alike. Which of them a pixel belongs to is written nowhere near it: one
has to follow the stroke to the dot, or at least to see the dot.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import maximum_filter

from . import photos

DARK, GREY = 0.1, 0.7  # background, strokes
DOT = np.array([0.95, 0.4, 0.1], np.float32)  # the seed
STEP = 0.7  # pixels that a walk makes at a time
TRIES, AGAIN = 128, 8  # first strokes drawn at a time, and second ones for each of them


@dataclass(frozen=True)
class Strokes(photos.Pictures):
    """N pictures of S x S pixels, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    same: torch.Tensor  # (N, S, S) int64: 1 on the seed's stroke, 0 on the other, -1 off
    distance: torch.Tensor  # (N, S, S) int64, pixels to the seed, the larger of dx and dy
    seed: torch.Tensor  # (N, 2) int64, row and column of the seed


def _walks(rng: np.random.Generator, number: int, size: int, bend: float) -> np.ndarray:
    """Random walks with momentum: the pixels (number, L, 2) along them, 4-connected."""
    start = rng.uniform(2, size - 3, (number, 2))
    turns = bend * rng.standard_normal((number, 3 * size))
    turns += 0.3 * bend * rng.standard_normal((number, 1))  # some curl
    inwards = np.arctan2(*(size / 2 - start).T)
    turns[:, 0] = inwards + rng.standard_normal(number)
    angle = np.cumsum(turns, axis=1)
    way = STEP * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    at = np.round(start[:, None] + np.cumsum(way, axis=1)).astype(int)
    pixels = np.repeat(at, 2, axis=1)[:, :-1]
    pixels[:, 1::2, 0] = at[:, 1:, 0]  # where a step is diagonal, the corner between
    return pixels


def _draw(pixels: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks (m, S, S) of the walks as far as they are `free`, and both ends (m, 2, 2)."""
    m, size = len(pixels), free.shape[-1]
    inside = ((pixels >= 1) & (pixels < size - 1)).all(-1)           # (m, L)
    y, x = np.moveaxis(pixels.clip(0, size - 1), -1, 0)
    rows = np.arange(m)[:, None]
    on = np.logical_and.accumulate(inside & free[rows, y, x], axis=1)
    mask = np.zeros((m, size, size), bool)
    mask[np.broadcast_to(rows, on.shape)[on], y[on], x[on]] = True
    last = np.maximum(on.sum(1) - 1, 0)
    return mask, np.stack([pixels[:, 0], pixels[rows[:, 0], last]], axis=1)


def _pairs(rng: np.random.Generator, size: int, gap: int, bend: float) -> tuple:
    """Some pairs of strokes: the seed's (m, S, S), the other (m, S, S), the seed (m, 2)."""
    first, ends = _draw(_walks(rng, TRIES, size, bend), np.ones((TRIES, size, size), bool))
    long = first.sum((1, 2)) >= size
    near = maximum_filter(first[long], size=(1, 2 * gap + 1, 2 * gap + 1))
    first, ends, near = (np.repeat(a, AGAIN, axis=0) for a in (first[long], ends[long], near))
    second, others = _draw(_walks(rng, len(first), size, bend), ~near)
    fits = (second.sum((1, 2)) >= size).reshape(-1, AGAIN)
    one = np.flatnonzero(fits.any(1)) * AGAIN + fits.argmax(1)[fits.any(1)]
    swap = rng.random(len(one)) < 0.5
    end = rng.integers(2, size=len(one))
    dot = np.where(swap[:, None], others[one, end], ends[one, end])
    swap = swap[:, None, None]
    return (np.where(swap, second[one], first[one]), np.where(swap, first[one], second[one]),
            dot)


def strokes(n: int, split: str = "train", size: int = 24, seed: int = 0, *,
            gap: int = 2, bend: float = 0.25, noise: float = 0.0) -> Strokes:
    """Generate `n` pictures of `size` x `size` pixels; equal arguments, equal bits.

    gap: least number of dark pixels between the two strokes, in any direction.
    bend: standard deviation of the turn at each step of 0.7 pixels, in radians.
    noise: standard deviation of the Gaussian noise on the colours; it changes nothing else.

    Each stroke has at least `size` pixels. More pictures with the same seed begin with the
    same ones.
    """
    rng = photos.generator(n, split, size, seed, 16)
    photos.whole("gap", gap, 1)
    if 4 * gap > size:
        raise ValueError(f"gap must be at most size / 4 = {size // 4}, got {gap}")
    if not 0 <= bend <= 1:
        raise ValueError(f"bend must lie in 0..1, got {bend}")
    if noise < 0:
        raise ValueError(f"noise must be >= 0, got {noise}")
    paint = np.random.default_rng([seed, 2, photos.SPLITS.index(split)])
    found = [_pairs(rng, size, gap, bend)]
    while sum(len(part[0]) for part in found) < n:
        found.append(_pairs(rng, size, gap, bend))
    first, second, dot = (np.concatenate(part)[:n] for part in zip(*found))
    same = np.where(first, 1, np.where(second, 0, -1))
    image = np.where(same[..., None] >= 0, GREY, DARK).repeat(3, axis=-1)
    image[np.arange(n), dot[:, 0], dot[:, 1]] = DOT
    image = image + noise * paint.standard_normal(image.shape, np.float32)
    image = np.ascontiguousarray(image.clip(0, 1).transpose(0, 3, 1, 2), np.float32)
    place = np.arange(size)
    distance = np.maximum(np.abs(place[:, None] - dot[:, 0, None, None]),
                          np.abs(place - dot[:, 1, None, None]))
    return Strokes(*map(torch.from_numpy, (image, same, distance, dot)))
