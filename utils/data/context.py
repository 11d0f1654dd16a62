"""Context: objects that look alike; what they are depends on where they stand.

A scene has four quarters, each of one of two materials. In the middle of each quarter a
square of grey fog hides the material, and in the fog stands one object. All objects
have the same outline; the class of an object is the material round its fog.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from . import photos

KINDS = ("uniform", "halves", "quarters")
BOXES = ((-1, 4, -6, 6), (-5, -1, -2, 4))  # hull and cabin: top, bottom, left, right
SWAY = 1  # an object stands up to so far from the middle
_UNIT = 96  # side of the scene for which these lengths are given, in pixels


@dataclass(frozen=True)
class Context(photos.Pictures):
    """N scenes of S x S pixels with four objects each, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    classes: torch.Tensor  # (N, S, S) int64, 0 no object, 1 or 2: on that material
    fog: torch.Tensor  # (N, S, S) bool, the fog and the objects in it
    regions: torch.Tensor  # (N, 2, 2) int64, 1 or 2: the material of each quarter
    kind: torch.Tensor  # (N,) int64, index into KINDS
    class_names: tuple[str, ...]  # of the classes 0, 1, 2


def _regions(rng: np.random.Generator, kinds: np.ndarray) -> np.ndarray:
    """Materials 0 or 1 (n, 2, 2): all equal, two opposite halves, or independent."""
    free = rng.integers(2, size=(len(kinds), 2, 2))
    first, beside = free[:, :1, :1], free[:, :1, 1:]  # two coins for each scene
    halves = first ^ np.where(beside, [[0, 1], [0, 1]], [[0, 0], [1, 1]])
    return np.choose(kinds[:, None, None], (first + 0 * free, halves, free))


def _object(rng: np.random.Generator, split: str, pool: Sequence[str], scale: float,
            grey: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A stretch of material (h, w, 3), its outline (h, w) and its corner in a quarter."""
    boxes = np.round(np.array(BOXES) * scale).astype(int)
    top, bottom, left, right = [f(boxes[:, k]) for k, f in enumerate((min, max) * 2)]
    outline = np.zeros((bottom - top, right - left), bool)
    for a, b, c, d in boxes:
        outline[a - top : b - top, c - left : d - left] = True
    name, side = pool[rng.integers(len(pool))], max(outline.shape)
    patch = photos.texture(rng, split, name, side, scene=round(_UNIT * scale))
    patch = patch[: bottom - top, : right - left]
    level = grey + rng.choice((-0.3, 0.3))  # darker or brighter than the fog
    sway = np.round(rng.uniform(-SWAY, SWAY, 2) * scale).astype(int)
    return level + patch - patch.mean(), outline, np.array([top, left]) + sway


def context(n: int, split: str = "train", size: int = 96, seed: int = 0, *,
            kind: str | None = None, materials: Sequence[str] = ("grass", "brick"),
            fog: float = 5 / 6, noise: float = 0.03) -> Context:
    """Generate `n` scenes of `size` x `size` pixels; equal arguments, equal bits.

    kind: one of KINDS for all scenes, or None: a third of each, in random order.
        "uniform" has one material, "halves" two, left and right or above and below,
        "quarters" draws each quarter for itself.
    materials: two of photos.MATERIALS; the objects are made of the other ones.
    fog: side of a square of fog over the side of its quarter, 0.5 to 0.95.
    noise: standard deviation of the Gaussian noise added at the end.

    Fog, objects and noise are drawn before the materials: with these two exchanged, the
    labels and all pixels in the fog remain the same to the bit.
    """
    rng = photos.generator(n, split, size, seed, 48)
    if kind is not None:
        photos.one_of("kind", kind, KINDS)
    if len(materials) != 2 or materials[0] == materials[1]:
        raise ValueError(f"materials must be two different ones, got {materials!r}")
    for material in materials:
        photos.one_of("material", material, photos.MATERIALS)
    if size % 2 or not 0.5 <= fog <= 0.95 or noise < 0:
        raise ValueError("need an even size, 0.5 <= fog <= 0.95 and noise >= 0")
    kinds = rng.permutation(n) % 3 if kind is None else np.full(n, KINDS.index(kind))
    regions = _regions(rng, kinds)
    grain = noise * rng.standard_normal((n, size, size, 3), np.float32)
    half, pool = size // 2, [m for m in photos.MATERIALS if m not in materials]
    gap = round(half * (1 - fog) / 2)
    hidden = np.zeros((n, size, size), bool)
    classes = np.zeros((n, size, size), np.int64)
    canvas = np.empty((n, size, size, 3), np.float32)
    canvas[:] = rng.uniform(0.42, 0.58, (n, 1, 1, 1))
    places = [(i, *place) for i in range(n) for place in np.ndindex(2, 2)]
    for i, down, right in places:
        y, x = half * down, half * right
        hidden[i, y + gap : y + half - gap, x + gap : x + half - gap] = True
        grey = float(canvas[i, 0, 0, 0])
        patch, outline, corner = _object(rng, split, pool, size / _UNIT, grey)
        y, x = corner + (y + half // 2, x + half // 2)
        window = np.s_[i, y : y + len(outline), x : x + outline.shape[1]]
        canvas[window][outline] = patch[outline]
        classes[window][outline] = 1 + regions[i, down, right]
    for i, down, right in places:
        window = np.s_[i, half * down : half * (down + 1), half * right : half * (right + 1)]
        name = materials[regions[i, down, right]]
        ground = photos.texture(rng, split, name, half, scene=size)
        canvas[window] = np.where(hidden[window][..., None], canvas[window], ground)
    image = np.ascontiguousarray((canvas + grain).clip(0, 1).transpose(0, 3, 1, 2))
    maps = (image, classes, hidden, 1 + regions, kinds.astype(np.int64))
    names = ("no object", *(f"object on {material}" for material in materials))
    return Context(*map(torch.from_numpy, maps), names)
