"""Cluttered digits: one handwritten digit over a photograph, among fragments."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import zoom

from . import photos
from .scenes import tight

GLYPH, _HALF = 16, 8  # sides of the squares of a digit and of a fragment, in pixels


@dataclass(frozen=True)
class Digits(photos.Pictures):
    """N pictures of S x S pixels with one digit each, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    label: torch.Tensor  # (N,) int64, 0..9
    box: torch.Tensor  # (N, 4) float32, see `scenes.tight`
    mask: torch.Tensor  # (N, S, S) int64, 1 on the digit's pixels


@lru_cache(maxsize=None)
def glyphs(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Digits (M, 16, 16) float32 in 0..1 and labels (M,) int64, both read-only.

    scikit-learn's 8x8 digits enlarged with cubic splines, 1,200 to train, 597 to test.
    """
    from sklearn.datasets import load_digits

    test = photos.one_of("split", split, photos.SPLITS)
    part = slice(1200, None) if test else slice(1200)
    digits = load_digits()
    large = zoom(digits.images[part] / 16, (1, 2, 2), mode="nearest", grid_mode=True)
    labels = digits.target[part].astype(np.int64)
    images = np.clip(large, 0, 1).astype(np.float32)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def _stamp(rng: Generator, canvas: np.ndarray, glyph: np.ndarray) -> tuple:
    """Paint a glyph in one colour at a random place; returns the window."""
    top, left = rng.integers(len(canvas) - len(glyph) + 1, size=2)
    window = np.s_[top : top + len(glyph), left : left + len(glyph)]
    below = canvas[window]
    darkest = 0.55 if below.mean() < 0.5 else 0.0  # bright on dark, dark on bright
    colour = (darkest + 0.45 * rng.random(3)).astype(np.float32)
    below += glyph[..., None] * (colour - below)
    return window


def digits(n: int, split: str = "train", size: int = 28, seed: int = 0, *,
           clutter: int = 3, background: str = "photo", noise: float = 0.05) -> Digits:
    """Generate `n` pictures of `size` x `size` pixels; equal arguments, equal bits.

    clutter: number of 8x8 fragments of other digits, painted beneath the digit.
    background: "photo" (a piece of a photograph of the split) or "plain" (one grey).
    noise: standard deviation of the Gaussian noise added at the end.
    """
    rng = photos.generator(n, split, size, seed, GLYPH)
    photos.one_of("background", background, ("photo", "plain"))
    if clutter < 0 or noise < 0:
        raise ValueError("clutter and noise must be at least 0")
    images, labels = glyphs(split)
    canvas = np.empty((n, size, size, 3), np.float32)
    mask = np.zeros((n, size, size), np.int64)
    chosen = rng.integers(len(images), size=n)
    for i, picture in enumerate(canvas):
        picture[:] = (rng.random() if background == "plain"
                      else photos.crop(rng, split, size, jitter=0.25))
        for other in rng.integers(len(images), size=clutter):
            top, left = rng.integers(_HALF + 1, size=2)
            _stamp(rng, picture, images[other][top : top + _HALF, left : left + _HALF])
        window = _stamp(rng, picture, images[chosen[i]])
        mask[i][window] = images[chosen[i]] >= 0.4
    canvas += noise * rng.standard_normal(canvas.shape, np.float32)
    image = np.ascontiguousarray(canvas.clip(0, 1).transpose(0, 3, 1, 2))
    box = np.concatenate([tight(digit) for digit in mask])
    return Digits(*map(torch.from_numpy, (image, labels[chosen], box, mask)))
