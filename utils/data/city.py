"""City: streets whose parts obey rules, of materials that alone do not tell them apart.

A scene is sky above ground, in one skyline. Houses are closed rectangles that stand on the
ground; windows lie in houses only, on a grid; a tree is a crown on a trunk. Each part has
one of two materials, which it shares with other parts: what a pixel is must come from where
it lies. `pieces`, `astray` and `outside` count what breaks the rules in a label map, true or not.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import label
from torch import Tensor

from . import photos

NAMES = ("sky", "ground", "house", "window", "tree")
SKY, GROUND, HOUSE, WINDOW, TREE = range(5)
LOOKS = (("gravel", "fur"), ("gravel", "grass"), ("brick", "print"), ("print", "tissue"),
         ("grass", "fur"))  # the two materials of each class
# those choices in which no two classes of a scene have the same material
OUTFITS = tuple(chosen for chosen in product(*LOOKS) if len(set(chosen)) == len(LOOKS))
IN_PLANE = np.zeros((3, 3, 3), bool)  # neighbours of a pixel: four, all in its own map
IN_PLANE[1, 1, :] = IN_PLANE[1, :, 1] = True


@dataclass(frozen=True)
class City(photos.Pictures):
    """N scenes of S x S pixels, as CPU tensors."""
    image: Tensor  # (N, 3, S, S) float32 in 0..1
    classes: Tensor  # (N, S, S) int64, index into class_names
    class_names: tuple[str, ...]  # NAMES


def _span(low: float, high: float) -> slice:
    """The pixels whose centres lie between two places."""
    return slice(max(0, round(low)), max(0, round(high)))


def _house(rng: Generator, classes: np.ndarray, left: float, skyline: float) -> float:
    """Draw a house with its grid of windows; where it ends."""
    size, unit = len(classes), len(classes) / 48
    wide, high = rng.uniform(0.22, 0.36) * size, rng.uniform(0.25, 0.45) * size
    right, base = min(left + wide, size - 1), skyline + rng.uniform(0, 0.12) * size
    classes[_span(base - high, base), _span(left, right)] = HOUSE
    pane, gap = 5 * unit * rng.uniform(0.8, 1.1), 2 * unit  # gap: at least
    starts = []  # of the panes, along both sides, at even distances
    for first, length in ((left, right - left), (base - high, high)):
        count = max(0, int((length - gap) // (pane + gap)))
        step = pane + (length - count * pane) / (count + 1)
        starts.append([first + (k + 1) * step - pane for k in range(count)])
    for side in starts[0]:
        for top in starts[1]:
            classes[_span(top, top + pane), _span(side, side + pane)] = WINDOW
    return right + rng.uniform(0.04, 0.15) * size


def _tree(rng: Generator, classes: np.ndarray, left: float, skyline: float) -> float:
    """Draw a tree; where it ends."""
    size = len(classes)
    radius = rng.uniform(0.07, 0.12) * size
    base = skyline + rng.uniform(0.02, 0.15) * size
    top, middle = base - rng.uniform(0.15, 0.3) * size, left + radius
    y, x = np.ogrid[0.5:size, 0.5:size]
    trunk = _span(top, base), _span(middle - size / 32, middle + size / 32)
    classes[trunk] = TREE
    classes[(x - middle) ** 2 + (y - top) ** 2 < radius**2] = TREE
    return middle + radius + rng.uniform(0.04, 0.12) * size


def city(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
         houses: float = 0.6, noise: float = 0.15) -> City:
    """Generate `n` scenes of `size` x `size` pixels; equal arguments, equal bits.

    houses: the share of houses among the things that stand on the ground; others are trees.
    noise: standard deviation of the Gaussian noise on the colours. It leaves the labels
        and all other draws as they are.
    """
    rng = photos.generator(n, split, size, seed, 32)
    if not 0 <= houses <= 1:
        raise ValueError(f"houses is a share in 0..1, got {houses}")
    if noise < 0:
        raise ValueError(f"need noise >= 0, got {noise}")
    image = noise * rng.standard_normal((n, size, size, 3), np.float32)
    classes = np.empty((n, size, size), np.int64)
    for drawn, scene in zip(image, classes):
        skyline, at = rng.uniform(0.5, 0.7) * size, rng.uniform(0, 0.15) * size
        scene[:] = np.where(np.arange(size) > skyline, GROUND, SKY)[:, None]
        while at < 0.9 * size:
            at = (_house if rng.random() < houses else _tree)(rng, scene, at, skyline)
        for kind, material in enumerate(OUTFITS[rng.integers(len(OUTFITS))]):
            skin = photos.texture(rng, split, material, size, jitter=0.3)
            here = scene == kind
            drawn[here] += skin[here]
    image = np.ascontiguousarray(image.clip(0, 1).transpose(0, 3, 1, 2))
    return City(*map(torch.from_numpy, (image, classes)), NAMES)


def _maps(classes: Tensor | np.ndarray) -> np.ndarray:
    maps = np.asarray(classes.cpu() if torch.is_tensor(classes) else classes)
    if maps.ndim != 3 or not np.issubdtype(maps.dtype, np.integer):
        raise ValueError(f"expected whole numbers (N, H, W), got {maps.dtype} {maps.shape}")
    return maps


def pieces(classes: Tensor | np.ndarray, kinds: tuple[int, ...]) -> Tensor:
    """How many connected pieces the given classes have in each map: (N, H, W) -> (N,).

    A pixel has four neighbours. Pieces of different classes are counted apart.
    """
    maps = _maps(classes)
    counts = np.zeros(len(maps), np.int64)
    for kind in kinds:
        marked, _ = label(maps == kind, IN_PLANE)
        highest = marked.reshape(len(maps), -1).max(1)  # numbered map by map
        reached = np.maximum.accumulate(highest)
        counts += np.diff(reached, prepend=0)
    return torch.from_numpy(counts)


def astray(found: Tensor | np.ndarray, truth: Tensor | np.ndarray,
           kinds: tuple[int, ...]) -> Tensor:
    """Pieces of the given classes without one right pixel: two (N, H, W) -> (N,)."""
    maps, true = _maps(found), _maps(truth)
    if maps.shape != true.shape:
        raise ValueError(f"label maps of two shapes: {maps.shape} and {true.shape}")
    counts = pieces(maps, kinds).numpy()
    for kind in kinds:
        marked, _ = label(maps == kind, IN_PLANE)
        marked[true != kind] = 0
        counts -= [len(np.unique(m[m > 0])) for m in marked]
    return torch.from_numpy(counts)


def outside(classes: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    """Windows that break the rule in each map, and all windows: two (N,) of whole numbers.

    A window is a connected piece. It breaks the rule where one of its pixels has a
    neighbour, of four, that is neither window nor house.
    """
    maps = _maps(classes)
    marked, _ = label(maps == WINDOW, IN_PLANE)
    foreign = np.pad((maps != WINDOW) & (maps != HOUSE), ((0, 0), (1, 1), (1, 1)))
    touched = (foreign[:, :-2, 1:-1] | foreign[:, 2:, 1:-1]
               | foreign[:, 1:-1, :-2] | foreign[:, 1:-1, 2:]) & (marked > 0)
    broken = [len(np.unique(m[t])) for m, t in zip(marked, touched)]
    return torch.tensor(broken), pieces(maps, (WINDOW,))
