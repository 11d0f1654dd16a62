"""Aerial: tiles seen from above, colour and height, with exact labels.

A tile is 32 m wide: paved ground and lawns, buildings with flat or gabled roofs, trees
with soft edges, cars. The sun casts the shadows of whatever is high. Flat roofs may be
of the ground's own material and trees of the lawn's: then only height and shadow tell.
The ground's relief is cut from an elevation model, train and test from two sides of it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from scipy.ndimage import gaussian_filter

from . import photos

NAMES = ("paved", "building", "low vegetation", "tree", "car")
WIDE = 32  # metres that a tile is wide, whatever its number of pixels
ELEVATION = {"train": (0, 190), "test": (213, 403)}  # columns of matplotlib's fault model
# material: tint, and the share of its contrast that is left from so far above
Looks = dict[str, tuple[tuple[float, float, float], float]]
GROUNDS: Looks = {"gravel": ((0.95, 0.95, 0.97), 0.5), "print": ((0.72, 0.72, 0.74), 0.15)}
LAWNS: Looks = {"grass": ((0.8, 1.0, 0.6), 0.6)}
ROOFS: Looks = {"brick": ((1.6, 1.1, 0.9), 0.5), "tissue": ((0.95, 0.8, 0.75), 0.6),
                "gravel": ((0.95, 0.95, 0.97), 0.5)}
CROWNS: Looks = {"fur": ((0.5, 0.85, 0.55), 0.9), "grass": ((0.75, 0.95, 0.55), 0.8)}


@dataclass(frozen=True)
class Aerial(photos.Pictures):
    """N tiles of S x S pixels, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    height: torch.Tensor  # (N, 2, S, S) float32, metres: surface model, above the ground
    classes: torch.Tensor  # (N, S, S) int64, index into class_names
    class_names: tuple[str, ...]  # NAMES


@lru_cache(maxsize=None)
def _elevation(split: str) -> np.ndarray:
    """The split's half of the elevation model, float32 metres, read-only."""
    from matplotlib.cbook import get_sample_data

    left, right = ELEVATION[split]
    with get_sample_data("jacksboro_fault_dem.npz") as file:
        model = file["elevation"][:, left:right].astype(np.float32)
    model.setflags(write=False)  # it is cached
    return model


def _relief(rng: Generator, split: str, size: int) -> np.ndarray:
    """A random window of the elevation model, smooth, from 0 to 1: (size, size)."""
    model, side = _elevation(split), int(rng.integers(12, 33))
    top, left = (int(rng.integers(length - side + 1)) for length in model.shape)
    window = Image.fromarray(model[top : top + side, left : left + side])
    ground = np.asarray(window.resize((size, size), Image.Resampling.BICUBIC))
    return (ground - ground.min()) / max(float(np.ptp(ground)), 1.0)


def _material(rng: Generator, split: str, looks: Looks, side: int, size: int) -> np.ndarray:
    """A piece (side, side, 3) of one of the materials, as it looks in a tile of `size`."""
    name = list(looks)[rng.integers(len(looks))]
    tint, contrast = looks[name]
    patch = photos.texture(rng, split, name, side, scene=round(0.6 * size), jitter=0.2)
    mean = patch.reshape(-1, 3).mean(0)
    return (mean + contrast * (patch - mean)) * np.array(tint, np.float32)


def _frame(centre: np.ndarray, angle: float, reach: float, size: int) -> tuple:
    """The window within `reach` metres of a centre, and metres along and across there.

    The window may be empty. Along and across (h, w) are measured from the centre, in a
    frame that is turned by `angle`.
    """
    pixel = WIDE / size
    low, high = (np.clip(np.round((centre + e) / pixel), 0, size).astype(int)
                 for e in (-reach, reach))
    x, y = ((np.arange(a, b, dtype=np.float32) + 0.5) * pixel - c
            for a, b, c in zip(low, high, centre))
    y = y[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    return (np.s_[low[1] : high[1], low[0] : high[0]], (x * cos + y * sin).astype(np.float32),
            (y * cos - x * sin).astype(np.float32))


def _shadow(above: np.ndarray, sun: float, pixel: float) -> np.ndarray:
    """Where something higher stands towards the sun, which is 63 degrees high: bool."""
    reach = int(np.ceil(above.max() / 2 / pixel))
    padded = np.pad(above, reach, mode="edge")
    dark, size = np.zeros(above.shape, bool), len(above)
    for step in range(1, reach + 1):
        y, x = (reach + round(step * part) for part in (np.sin(sun), np.cos(sun)))
        dark |= padded[y : y + size, x : x + size] > above + 2 * step * pixel
    return dark


def _building(rng: Generator, split: str, street: float, sun: float, maps: tuple) -> None:
    """Draw a building into the maps: rectangular or with a wing, flat or gabled."""
    size, half, wing = len(maps[1]), rng.uniform(3, 7, 2), rng.random() < 0.4
    window, along, across = _frame(rng.uniform(2, WIDE - 2, 2), street, 17, size)
    inside = (np.abs(along) < half[0]) & (np.abs(across) < half[1])
    if wing:
        inside |= ((np.abs(along - half[0]) < 0.6 * half[0])
                   & (np.abs(across + half[1]) < 0.7 * half[1]))
    high, gabled, slope = rng.uniform(3, 8), rng.random() < 0.5, rng.uniform(0.2, 0.5)
    roof = _material(rng, split, ROOFS, size, size)[: len(inside), : inside.shape[1]]
    top = np.full_like(along, high)
    if gabled and not wing:  # the half of the roof that faces the sun is brighter
        top += slope * (half[1] - np.abs(across))
        roof = roof * (1 + 0.25 * np.sign(np.sin(sun - street) * across))[..., None]
    for drawn, new in zip(maps, (roof, top, np.ones_like(inside, int))):
        drawn[window][inside] = new[inside]


def _car(rng: Generator, street: float, maps: tuple) -> None:
    """Draw a car, along or across the street; what stands higher hides it."""
    angle, colour, above, classes = street + np.pi / 2 * rng.integers(2), *maps
    window, along, across = _frame(rng.uniform(0, WIDE, 2), angle, 3, len(above))
    inside = (np.abs(along) < 2.2) & (np.abs(across) < 1.0) & (above[window] == 0)
    screens = inside & (np.abs(np.abs(along + 0.2) - 0.95) < 0.25)
    colour[window][inside] = rng.uniform(0.15, 0.85) + rng.uniform(-0.15, 0.15, 3)
    colour[window][screens] = 0.15
    above[window][inside], classes[window][inside] = 1.4, 4


def _tree(rng: Generator, split: str, maps: tuple) -> None:
    """Draw a tree over whatever is there; its colours fade out over the crown's edge."""
    colour, above, classes = maps
    radius, phase, high = rng.uniform(1.5, 3.5), rng.uniform(0, 2 * np.pi), rng.uniform(3, 9)
    window, along, across = _frame(rng.uniform(0, WIDE, 2), 0, 5, len(above))
    crown = _material(rng, split, CROWNS, 2 + round(10 * len(above) / WIDE), len(above))
    lobes = 1 + 0.08 * np.sin(7 * np.arctan2(across, along) + phase)
    inward = 1 - np.hypot(along, across) / (radius * lobes)  # 0 at the edge, 1 inside
    cover = np.clip(0.5 + 2 * inward, 0, 1)[..., None]
    below = colour[window]
    below += cover * (crown[: len(inward), : inward.shape[1]] - below)
    inside = inward >= 0
    dome = high * (0.5 + 0.5 * np.sqrt(np.maximum(inward, 0)))
    above[window] = np.where(inside, np.maximum(above[window], dome), above[window])
    classes[window][inside] = 3


def _tile(rng: Generator, split: str, size: int, counts: tuple, shadows: bool) -> tuple:
    """Colours (S, S, 3), metres above the ground (S, S), classes (S, S)."""
    colour = _material(rng, split, GROUNDS, size, size)
    maps = colour, np.zeros((size, size), np.float32), np.zeros((size, size), np.int64)
    street, sun = rng.uniform(0, 2 * np.pi, 2)
    for _ in range(rng.integers(1, 3)):  # lawns: strips in any direction
        turn, half = rng.uniform(0, np.pi), rng.uniform(3, 8)
        _, along, _ = _frame(rng.uniform(0, WIDE, 2), turn, 2 * WIDE, size)
        lawn = np.abs(along) < half
        colour[lawn] = _material(rng, split, LAWNS, size, size)[lawn]
        maps[2][lawn] = 2
    buildings, trees, cars = (int(rng.integers(low, high + 1)) for low, high in counts)
    for _ in range(buildings):
        _building(rng, split, street, sun, maps)
    for _ in range(cars):
        _car(rng, street, maps)
    for _ in range(trees):
        _tree(rng, split, maps)
    if shadows:
        dark = gaussian_filter(_shadow(maps[1], sun, WIDE / size).astype(np.float32), 0.6)
        colour *= 1 - dark[..., None] * np.array([0.55, 0.5, 0.42], np.float32)
    return maps


def aerial(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
           buildings: tuple[int, int] = (2, 4), trees: tuple[int, int] = (2, 5),
           cars: tuple[int, int] = (3, 7), relief: float = 4.0, shadows: bool = True,
           noise: float = 0.03, height_noise: float = 0.3) -> Aerial:
    """Generate `n` tiles of `size` x `size` pixels; equal arguments, equal bits.

    buildings, trees, cars: least and greatest number in a tile (later ones may hide
        earlier ones; cars stand on the ground only).
    relief: greatest difference in height of the bare ground of a tile, in metres.
    shadows: whether the sun casts any.
    noise: standard deviation of the Gaussian noise on the colours.
    height_noise: that of the heights, in metres; it is the same in both of their maps,
        which are blurred a little at steps, as those from matched photographs are.

    Relief, shadows and both noises leave the labels and all other draws as they are.
    """
    rng = photos.generator(n, split, size, seed, 32)
    counts = (buildings, trees, cars)
    for what, count in zip(("buildings", "trees", "cars"), counts):
        if len(count) != 2 or not 0 <= count[0] <= count[1]:
            raise ValueError(f"{what} must be 0 <= low <= high, got {count!r}")
    if min(relief, noise, height_noise) < 0:
        raise ValueError("need relief >= 0, noise >= 0 and height_noise >= 0, got "
                         f"{relief}, {noise} and {height_noise}")
    image = noise * rng.standard_normal((n, size, size, 3), np.float32)
    errors = height_noise * rng.standard_normal((n, size, size), np.float32)
    height = np.empty((n, 2, size, size), np.float32)
    classes = np.empty((n, size, size), np.int64)
    for i in range(n):
        ground = rng.uniform(0.25, 1) * relief * _relief(rng, split, size)
        colour, above, classes[i] = _tile(rng, split, size, counts, shadows)
        image[i] += colour
        height[i, 1] = gaussian_filter(above, 0.01 * size) + errors[i]
        height[i, 0] = ground + height[i, 1]
    image = np.ascontiguousarray(image.clip(0, 1).transpose(0, 3, 1, 2))
    return Aerial(*map(torch.from_numpy, (image, height, classes)), NAMES)
