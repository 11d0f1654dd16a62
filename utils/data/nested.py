"""Nested: small dots that look alike; what a dot is, the large shape round it says.

One large contour lies on a photograph, a square or a disc of equal width. The dots
inside are "buttons" in a square, "eyes" in a disc; crosses are crosses everywhere.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from . import photos
from .scenes import _outline, _paste, distance, tight

NAMES = ("background", "button", "eye", "cross", "square", "disc")
AROUND = NAMES[4:]  # the large shapes; a dot in AROUND[k] is of class 1 + k
CLEAR = 11.5  # no contour within a square of twice this side about a dot's middle
LINE = 2.5  # thickness of the contour
_UNIT = 64  # side of the picture for which these lengths are given, in pixels


@dataclass(frozen=True)
class Nested(photos.Pictures):
    """N pictures of S x S pixels with k objects each, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    contour: torch.Tensor  # (N, S, S) bool, every pixel that the large shape touches
    boxes: list[torch.Tensor]  # per picture (k, 4) float32, see `tight`
    box_classes: list[torch.Tensor]  # per picture (k,) int64, 1..5
    class_names: tuple[str, ...]  # of the classes 0 ("background"), 1..5


def _places(rng: np.random.Generator, count: int) -> np.ndarray:
    """Offsets (count, 2) of one or two dots from the middle, nine pixels apart."""
    if count == 1:
        return rng.uniform(-2, 2, (1, 2))
    away = 4.5 * np.array([rng.choice((-1, 1)), rng.uniform(-1, 1)])
    away = away[:: rng.choice((-1, 1))]
    return np.stack([away, -away])


def _crosses(rng: np.random.Generator, count: int, middle: np.ndarray, half: float,
             dots: np.ndarray) -> list[np.ndarray]:
    """Up to `count` places clear of the dots, of each other and of both large shapes."""
    at = rng.uniform(5.5, _UNIT - 5.5, (40, 2))
    away, found = at - middle, []
    fits = (away**2).sum(1) < (half - LINE - 6.5) ** 2  # inside the disc
    fits |= np.abs(away).max(1) > half + 6  # outside the square
    fits &= np.abs(at[:, None] - dots).max(2).min(1) > 10
    for place in at[fits]:
        if len(found) < count and all(np.abs(place - o).max() > 10 for o in found):
            found.append(place)
    return found


def _ink(rng: np.random.Generator, canvas: np.ndarray, outline: tuple) -> np.ndarray:
    """A bright colour (h, w, 3) where the canvas is dark under the outline, or dark."""
    below = np.average(canvas[outline[0]].mean(-1), weights=outline[1])
    colour = np.float32(rng.uniform(0, 0.2, 3))
    return np.tile(colour if below > 0.5 else 1 - colour, (*outline[1].shape, 1))


def nested(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
           around: str | None = None, noise: float = 0.03) -> Nested:
    """Generate `n` pictures of `size` x `size` pixels; equal arguments, equal bits.

    around: "square" or "disc" for all pictures, or None: either, by a coin. The shape
        changes nothing but the contour and the classes of the dots: with the other one,
        all pixels that neither contour touches stay the same to the bit.
    noise: standard deviation of the Gaussian noise added at the end.
    """
    rng = photos.generator(n, split, size, seed, 48)
    if around is not None:
        photos.one_of("around", around, AROUND)
    if noise < 0:
        raise ValueError(f"noise must be >= 0, got {noise!r}")
    coins = rng.integers(2, size=n)
    forms = coins if around is None else np.full(n, AROUND.index(around))
    image = noise * rng.standard_normal((n, size, size, 3), np.float32)
    contour, scale = np.zeros((n, size, size), bool), size / _UNIT
    grid = (np.arange(size) + 0.5) / scale
    boxes, labels = [], []
    for i, form in enumerate(forms.tolist()):
        canvas = photos.crop(rng, split, size, min_scale=0.6, jitter=0.25)
        places = _places(rng, 1 + int(rng.integers(2)))
        least = np.abs(places).max() + CLEAR  # half of the square that stays clear
        half = math.sqrt(2) * least + LINE + rng.uniform(0.5, 2)
        middle = rng.uniform(half + 0.5, _UNIT - half - 0.5, 2)
        radius = half * (math.sqrt(2) if form == 0 else 1)  # of the circle about it
        u, v = ((grid - m) / radius for m in middle)
        deep = -radius * distance(AROUND[form], u[None], v[:, None])
        alpha = (deep + 0.5).clip(0, 1) - (deep - LINE + 0.5).clip(0, 1)
        ids, contour[i] = (alpha >= 0.5).astype(np.int64), alpha > 0
        ring = np.s_[:size, :size], alpha.astype(np.float32)
        _paste(canvas, ring, _ink(rng, canvas, ring))
        dots, classes = middle + places, [4 + form]
        crosses = _crosses(rng, 1 + int(rng.integers(2)), middle, half, dots)
        for kind, (x, y) in [(1 + form, d) for d in dots] + [(3, c) for c in crosses]:
            r = rng.uniform(3, 3.8) if kind < 3 else rng.uniform(4, 4.8)
            small = _outline(rng, "disc" if kind < 3 else "cross", x * scale, y * scale,
                             r * scale, size, False)
            _paste(canvas, small, _ink(rng, canvas, small))
            classes.append(kind)
            ids[small[0]][small[1] >= 0.5] = len(classes)
        image[i] += canvas
        boxes.append(torch.from_numpy(tight(ids)))
        labels.append(torch.tensor(classes))
    maps = np.ascontiguousarray(image.clip(0, 1).transpose(0, 3, 1, 2)), contour
    return Nested(*map(torch.from_numpy, maps), boxes, labels, NAMES)
