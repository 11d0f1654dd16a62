"""Brains: slices of a real anatomy in four made-up modalities, with made-up tumours.

The anatomy is the MNI ICBM152 average of 152 heads, which nilearn ships as a T1 picture and maps
of grey and white matter. From the tissues four modalities are computed: T1, T1 after
contrast agent (T1c), T2 and FLAIR. A lesion is nested: oedema round a core, which has a
part that takes up the agent, a part that does not and a dead middle. Vessels, the outer
skin, the plexus and old scars look alike in single modalities. No patient's data is used,
and nothing here tells how a network would do on patients.

The template is Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre,
Montreal Neurological Institute, McGill University (Fonov et al., NeuroImage 54, 2011),
free to use, copy, modify and distribute where this notice is kept.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, map_coordinates
from threadpoolctl import threadpool_limits
from torch import Tensor

from . import photos

NAMES = ("healthy", "necrosis", "oedema", "not enhancing", "enhancing")
NECROSIS, OEDEMA, SOLID, ENHANCING = range(1, 5)
MODALITIES = ("T1", "T1c", "T2", "FLAIR")
FIELD = 192.0  # millimetres that a picture is wide and high
MIDDLE = 98.0, 117.0  # voxel of the template at the middle of a picture; voxels are 1 mm
# Axial slices of the template by split: neighbours look alike, so the splits lie apart.
# The template is its own mirror image: halves of one slice would not do.
HEIGHTS = {"train": (*range(60, 75), *range(92, 107)),
           "test": (*range(79, 89), *range(117, 122))}
SHARPEN = 1.7  # power that undoes some of the averaging over 152 heads
TISSUE = {"T2": (0.34, 0.50, 1.00), "FLAIR": (0.46, 0.58, 0.12)}  # white, grey, fluid
LESION = {"T1": (0.30, 0.56, 0.52, 0.58), "T1c": (0.28, 0.56, 0.54, 1.22),
          "T2": (0.98, 0.80, 0.78, 0.68), "FLAIR": (0.45, 0.88, 0.80, 0.78)}  # classes 1..4
OUTSIDE = -3.0  # of the brain, in standard deviations


@dataclass(frozen=True)
class Brains(photos.Pictures):
    """N slices of S x S pixels, as CPU tensors."""
    image: Tensor  # (N, 4, S, S) float32, MODALITIES, each of mean 0 and deviation 1 inside
    classes: Tensor  # (N, S, S) int64, index into class_names
    inside: Tensor  # (N, S, S) bool: the brain
    height: Tensor  # (N,) int64, slice of the template
    class_names: tuple[str, ...]  # NAMES


@dataclass(frozen=True)
class _Slice:
    """One slice, resampled: maps (S, S) float32."""
    t1: np.ndarray
    white: np.ndarray
    grey: np.ndarray
    fluid: np.ndarray
    mask: np.ndarray
    middle: np.ndarray  # millimetres from the plane between the halves


@lru_cache(maxsize=None)
def _template() -> dict[int, np.ndarray]:
    """Slice -> T1, white, grey, fluid, mask: (5, 197, 233) float32 in 0..1."""
    try:
        import nibabel
        import nilearn
    except ImportError as error:
        raise RuntimeError("the brains need the packages nilearn and nibabel: install "
                           "requirements.txt") from error
    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    volumes = []
    for kind in ("t1", "wm", "gm"):
        file = folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
        volumes.append(np.asanyarray(nibabel.load(file).dataobj))
    scale = [float(v.max()) for v in volumes]
    slices = {}
    for z in HEIGHTS["train"] + HEIGHTS["test"]:
        t1, white, grey = (v[:, :, z] / np.float32(s) for v, s in zip(volumes, scale))
        mask = (t1 > 0).astype(np.float32)
        tissue = np.stack([white, grey, (mask - white - grey).clip(0, 1)]) ** SHARPEN
        tissue *= mask / (tissue.sum(0) + 1e-6)
        slices[z] = np.concatenate([t1[None], tissue, mask[None]]).astype(np.float32)
    return slices


@lru_cache(maxsize=None)
def _spread(size: int, scale: float) -> np.ndarray:
    """Weights (size, k) of k points, `scale` apart, at each pixel; rows of length 1."""
    points = np.arange(-3, size / scale + 4) * scale
    weights = np.exp(-0.5 * ((np.arange(size)[:, None] - points) / scale) ** 2)
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)


def _field(rng: Generator, size: int, scale: float, count: int = 1) -> np.ndarray:
    """Smooth noise (count, size, size) of mean 0 and variance 1; `scale` in millimetres."""
    weights = _spread(size, max(1.0, scale * size / FIELD))
    points = rng.standard_normal((count, weights.shape[1], weights.shape[1]), np.float32)
    return weights @ points @ weights.T


def _soft(distance: np.ndarray, width: float = 1.0) -> np.ndarray:
    """One where `distance` is negative, zero where positive, soft over `width`."""
    return 1 / (1 + np.exp((distance / width).clip(-30, 30)))


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres down and right from the middle of the picture, (S, 1) and (1, S)."""
    place = ((np.arange(size) + 0.5) / size - 0.5) * FIELD
    return place[:, None], place[None]


def _slice(rng: Generator, z: int, size: int, push: tuple | None) -> _Slice:
    """One slice, mirrored, scaled, turned, bent, and pushed aside by a lesion."""
    volume, (down, right) = _template()[z], _grid(size)
    side = 1 if rng.random() < 0.5 else -1
    scale, turn = rng.uniform(0.94, 1.06), rng.normal(0, 0.07)
    bend = rng.uniform(1.4, 2.7) * _field(rng, size, 15, 2) + 2.5 * _field(rng, size, 37, 2)
    dy, dx = down + bend[0], right + bend[1]
    if push is not None:
        y, x, radius, force = push
        ry, rx = down - y, right - x
        r = np.hypot(ry, rx) + 1e-3
        shift = force * radius * np.exp(-((r / (1.6 * radius)) ** 2)) / r
        dy, dx = dy - shift * ry, dx - shift * rx
    across = side * scale * (np.cos(turn) * dx - np.sin(turn) * dy)
    along = scale * (np.sin(turn) * dx + np.cos(turn) * dy)
    at = MIDDLE[0] + across, MIDDLE[1] - along
    return _Slice(*(map_coordinates(v, at, order=1) for v in volume), across)


def _vessels(rng: Generator, s: _Slice) -> np.ndarray:
    """Thin walks through the fluid between the folds: an opacity (S, S)."""
    size = len(s.mask)
    fluid = (gaussian_filter(s.fluid * s.mask, 1) * (s.mask > 0.5)).ravel() + 1e-9
    drawn = np.zeros((size, size), np.float32)
    for start in rng.choice(size * size, rng.integers(8, 16), p=fluid / fluid.sum()):
        y, x = divmod(int(start), size)
        long = max(2, round(rng.uniform(3, 21) * size / FIELD))
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(0.5 * rng.standard_normal(long))
        rows = np.round(y + np.cumsum(np.sin(angle))).astype(int).clip(0, size - 1)
        columns = np.round(x + np.cumsum(np.cos(angle))).astype(int).clip(0, size - 1)
        drawn[rows, columns] = 1
    return 2.1 * gaussian_filter(drawn, 0.65)


def _look_alikes(rng: Generator, s: _Slice, images: dict[str, np.ndarray]) -> None:
    """Add what is bright as tumours are, but healthy: changes the images in place."""
    size = len(s.mask)
    unit, inside = size / FIELD, s.mask > 0.5
    wide = gaussian_filter(s.mask, 7 * unit)
    vessels = _vessels(rng, s)
    sinus = (np.abs(s.middle) < 3.7) & (wide < 0.62) & inside  # where the halves meet
    vessels = np.maximum(vessels, 1.2 * gaussian_filter(sinus.astype(np.float32), 0.8))
    vessels = vessels.clip(0, 1)
    skin = ((gaussian_filter(s.mask, 2 * unit) < 0.72) & inside) * rng.uniform(0.15, 0.5)
    skin = skin * (_field(rng, size, 10)[0] - 0.3).clip(0, 1)
    hollow = (s.fluid > 0.6) & (wide > 0.95)  # the ventricles
    plexus = (_field(rng, size, 2.5)[0] - 1).clip(0, 1) * hollow * rng.uniform(0.3, 1.2)
    images["T1c"] += vessels * rng.uniform(0.35, 0.6) + 0.7 * skin + 0.6 * plexus
    for name in ("T2", "FLAIR"):
        images[name] *= 1 - 0.15 * vessels  # blood flows away before it answers
    rims = gaussian_filter(hollow.astype(np.float32), 4 * unit)
    scars = 3 * rims * (1 + 0.8 * _field(rng, size, 5)[0]) * rng.uniform(0, 0.8)
    spots = 1.2 * (_field(rng, size, 3.4)[0] - 2).clip(0, 0.6) * (rng.random() < 0.5)
    scars = (scars.clip(0, 0.8) + spots).clip(0, 1) * s.white
    for name, step in (("T1", -0.07), ("T1c", -0.07), ("T2", 0.2), ("FLAIR", 0.3)):
        images[name] += step * scars


def _lesion(rng: Generator, s: _Slice, push: tuple) -> np.ndarray:
    """Shares of the classes 1..4 at each pixel: (4, S, S), the rest is healthy."""
    size, (y, x, radius, _), (down, right) = len(s.mask), push, _grid(len(s.mask))
    ry, rx = down - y, right - x
    r, rough = np.hypot(ry, rx), _field(rng, size, 7, 4)
    core = r - radius * (1 + 0.22 * rough[0]) + 1.3 * rough[1]  # < 0 inside
    white = gaussian_filter(s.white, 1.7 * size / FIELD)
    reach = (rng.uniform(1.25, 1.9) * radius + 2.5) * (0.62 + 0.62 * white)
    around = r - reach * (1 + 0.16 * rough[2]) - _field(rng, size, 3.4)[0]
    around = np.minimum(around, core + 0.7)  # along white matter, and about all of the core
    rim = (rng.uniform(3.2, 5.8) * (1 + 0.35 * rough[3])).clip(1.5, 6.8)
    solid = np.full_like(core, 1.0)  # share of the core that takes up no agent
    if rng.random() < 0.85:  # a high grade
        bearing = np.cos(np.arctan2(ry, rx) - rng.uniform(0, 2 * np.pi))
        patch = 0.7 * (_field(rng, size, 8.5)[0] + rng.uniform(-1.9, 0)) + 0.8 * bearing
        solid = _soft(-3 * patch, 0.6)
    dead = _soft(core + rim) * (1 - solid)  # within the rim
    core = _soft(core) * s.mask
    dead *= core
    oedema = _soft(around, 1.4) * s.mask * (1 - 0.92 * (1.1 * s.fluid).clip(0, 1))
    shell = core - dead
    return np.stack([dead, (oedema - core).clip(0, 1), shell * solid, shell * (1 - solid)])


def _scanned(rng: Generator, image: np.ndarray, inside: np.ndarray,
             noise: float) -> np.ndarray:
    """One modality with bias field, gain and Rician noise, standardised: (S, S)."""
    size, (down, right) = len(image), _grid(len(image))
    tilt = 0.06 * (rng.normal() * down + rng.normal() * right) / (FIELD / 2)
    field = np.exp(0.09 * _field(rng, size, 51)[0] + tilt) * rng.uniform(0.8, 1.25)
    level = noise * rng.uniform(0.7, 1.3)
    real, imaginary = level * rng.standard_normal((2, size, size), np.float32)
    signal = np.hypot(gaussian_filter(image, 0.35) * field + real, imaginary)
    low, high = np.percentile(signal[inside], (1, 99.7))
    signal = signal.clip(low, high)
    return np.where(inside, (signal - signal[inside].mean()) / signal[inside].std(), OUTSIDE)


def _place(rng: Generator, z: int) -> tuple[float, float, float, float]:
    """Where a lesion is, its radius and its force: y, x, r in millimetres, 0.1 to 0.35."""
    volume = _template()[z]
    while True:
        y, x = rng.uniform(-0.66, 0.66, 2) * FIELD / 2
        voxel = volume[:, round(MIDDLE[0] + x), round(MIDDLE[1] - y)]
        if voxel[4] > 0 and voxel[1] > 0.5:  # in white matter
            return y, x, rng.uniform(8.5, 17), rng.uniform(0.1, 0.35)


def _brain(rng: Generator, z: int, size: int, ill: bool,
           noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Modalities (4, S, S), classes (S, S) and the brain (S, S) of one slice."""
    push = _place(rng, z) if ill else None
    s = _slice(rng, z, size, push)
    inside = s.mask > 0.5
    t1 = s.t1 * (1 + 0.025 * _field(rng, size, 2)[0])  # an average of 152 is too smooth
    images = {"T1": t1, "T1c": 1.02 * t1}
    for name, (white, grey, fluid) in TISSUE.items():
        images[name] = white * s.white + grey * s.grey + fluid * s.fluid
        images[name] = images[name] + 0.03 * _field(rng, size, 2)[0] * s.mask
    _look_alikes(rng, s, images)
    classes = np.zeros((size, size), np.int64)
    if push is not None:
        shares = _lesion(rng, s, push)
        strength = rng.uniform(0.55, 1, 4)
        strength[[NECROSIS - 1, ENHANCING - 1]] = 0.9, max(0.65, strength[3])
        grain = 1 + 0.07 * _field(rng, size, 2.7)[0]
        for name, levels in LESION.items():
            for share, power, level in zip(shares, strength, levels):
                cover = power * share
                images[name] = images[name] * (1 - cover) + cover * level * grain
        healthy = (1 - shares.sum(0))[None]
        classes = np.concatenate([healthy, shares]).argmax(0) * inside
    scans = [_scanned(rng, images[name], inside, noise) for name in MODALITIES]
    return np.stack(scans), classes, inside


def brains(n: int, split: str = "train", size: int = 96, seed: int = 0, *,
           ill: float = 0.6, noise: float = 0.04) -> Brains:
    """Generate `n` axial slices of `size` x `size` pixels; equal arguments, equal bits.

    ill: share of the slices that have a tumour, by a coin for each.
    noise: mean level of the Rician noise, where white matter in T1 is about 0.8.

    Reading the template takes a second, once a process; RuntimeError where it is missing.
    """
    rng = photos.generator(n, split, size, seed, 48)
    if not 0 <= ill <= 1:
        raise ValueError(f"ill must lie in 0..1, got {ill!r}")
    if noise < 0:
        raise ValueError(f"noise must be >= 0, got {noise!r}")
    height = rng.choice(HEIGHTS[split], n)
    coins = rng.random(n) < ill
    with threadpool_limits(1, "blas"):  # for small matrices more threads are far slower
        made = [_brain(rng, int(z), size, bool(coin), noise)
                for z, coin in zip(height, coins)]
    image, classes, inside = map(np.stack, zip(*made))
    return Brains(torch.from_numpy(image.astype(np.float32)), torch.from_numpy(classes),
                  torch.from_numpy(inside), torch.from_numpy(height), NAMES)
