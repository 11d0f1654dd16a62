"""Mattes: soft objects of real materials over photographs, with exact alpha, F and B.

The four kinds are drawn at four times the size and averaged down, so that alpha is the
share of a pixel that the object covers. I = alpha F + (1 - alpha) B holds exactly. Each
has an opaque core of 8 to 10 pixels' radius or more, so that a narrow trimap shows some
foreground.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt, gaussian_filter

from . import photos

KINDS = ("hair", "soft", "lace", "smoke")
FINE = 4  # supersampling


@dataclass(frozen=True)
class Mattes(photos.Pictures):
    """N composites of S x S pixels, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1, alpha F + (1 - alpha) B
    alpha: torch.Tensor  # (N, 1, S, S) float32 in 0..1
    foreground: torch.Tensor  # (N, 3, S, S) float32 in 0..1, everywhere
    background: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    kind: torch.Tensor  # (N,) int64 into KINDS


def _blob(rng: Generator, size: int, radius: float) -> np.ndarray:
    """Signed distance-like map (S, S) of a wavy blob: positive inside, in pixels."""
    x, y = (size * rng.uniform(0.42, 0.58) for _ in range(2))
    grid = np.arange(size) + 0.5
    dx, dy = grid[None, :] - x, grid[:, None] - y
    angle = np.arctan2(dy, dx)
    waves = sum(rng.uniform(0, 0.12) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
                for k in (2, 3, 4))
    return radius * (1 + waves) - np.hypot(dx, dy)


def _hair(rng: Generator, size: int) -> np.ndarray:
    """A blob and 15 to 40 bent hairs, one to three pixels wide."""
    large = size * FINE
    inside = _blob(rng, large, large * rng.uniform(0.18, 0.26))
    canvas = Image.fromarray(np.uint8(255 * (inside > 0)))
    pen, middle = ImageDraw.Draw(canvas), np.argwhere(inside > 0).mean(0)[::-1]
    t = np.linspace(0, 1, 10)[:, None]
    for _ in range(rng.integers(15, 41)):
        bearing = rng.uniform(0, 2 * np.pi)
        out = np.array([np.cos(bearing), np.sin(bearing)])
        side = np.array([-out[1], out[0]]) * rng.uniform(-0.12, 0.12) * large
        start, end = middle + 0.12 * large * out, middle + out * large * rng.uniform(.3, .48)
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * (start + end + side) / 2
        curve = curve + t**2 * (end + side)
        pen.line([tuple(p) for p in curve], fill=255, width=int(rng.integers(4, 13)))
    return np.asarray(canvas) / 255


def _soft(rng: Generator, size: int) -> np.ndarray:
    """A blob out of focus: alpha falls from 1 to 0 over 4 to 14 pixels."""
    large = size * FINE
    inside = _blob(rng, large, large * rng.uniform(0.25, 0.36))
    u = np.clip(inside / (FINE * rng.uniform(4, 14)) + 0.5, 0, 1)
    return u * u * (3 - 2 * u)


def _lace(rng: Generator, size: int) -> np.ndarray:
    """A blob of cloth with a turned grid of round holes round its solid core."""
    large = size * FINE
    radius = large * rng.uniform(0.36, 0.44)
    inside = _blob(rng, large, radius)
    pitch, turn = FINE * rng.uniform(10, 16), rng.uniform(0, np.pi / 2)
    y, x = np.mgrid[:large, :large] * (2 * np.pi / pitch)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    solid = (inside < FINE * 3) | (inside > radius - 0.15 * large)  # rim and core
    return ((inside > 0) & (solid | (np.cos(u) + np.cos(v) < rng.uniform(0.2, 0.7)))) * 1.0


def _smoke(rng: Generator, size: int) -> np.ndarray:
    """Smoothed noise of three scales to a power, fading outwards from an opaque core."""
    large = size * FINE
    coarse = sum(gaussian_filter(rng.standard_normal((size, size)), s) * s**1.5
                 for s in (2, 4, 8))
    coarse = (coarse - coarse.min()) / np.ptp(coarse)
    radius = size * rng.uniform(0.36, 0.46)
    inside = _blob(rng, size, radius)
    fade = np.clip(inside / (0.16 * size), 0, 1)
    core = np.clip((inside - radius + 0.17 * size) / (0.05 * size), 0, 1)
    plume = np.maximum(np.clip(1.6 * coarse, 0, 1) ** rng.uniform(1, 2) * fade, core)
    return np.asarray(Image.fromarray(plume.astype(np.float32)).resize((large, large)))


def mattes(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
           kinds: tuple[str, ...] = KINDS,
           overlap: tuple[float, float] = (0.0, 1.0), blur: float = 0.0) -> Mattes:
    """Generate `n` composites of `size` x `size` pixels; equal arguments, equal bits.

    kinds: of which the mattes are drawn in turn, of KINDS.
    overlap: range of the share by which the mean colour of F is pulled to that of B
        (0: as the photographs come, 1: equal means).
    blur: standard deviation in pixels of the blur of the background (a lens out of focus).
    """
    rng = photos.generator(n, split, size, seed, 32)
    for kind in kinds:
        photos.one_of("kind", kind, KINDS)
    if not kinds or not 0 <= overlap[0] <= overlap[1] <= 1:
        raise ValueError("need a kind at least and 0 <= overlap low <= high <= 1")
    if blur < 0:
        raise ValueError(f"blur must be at least 0, got {blur}")
    draw = dict(zip(KINDS, (_hair, _soft, _lace, _smoke)))
    alpha = np.empty((n, size, size, 1), np.float32)
    layers = np.empty((2, n, size, size, 3), np.float32)  # foreground, background
    chosen = [kinds[i % len(kinds)] for i in range(n)]
    for i, kind in enumerate(chosen):
        fine = draw[kind](rng, size).reshape(size, FINE, size, FINE)
        alpha[i, ..., 0] = fine.mean((1, 3)).clip(0, 1)
        layers[1, i] = photos.crop(rng, split, size, jitter=0.25)
        if blur:
            layers[1, i] = gaussian_filter(layers[1, i], (blur, blur, 0))
        material = photos.MATERIALS[rng.integers(len(photos.MATERIALS))]
        front = photos.texture(rng, split, material, size)
        pull = rng.uniform(*overlap) * (layers[1, i].mean((0, 1)) - front.mean((0, 1)))
        layers[0, i] = np.clip(front + pull, 0, 1)
    image = alpha * layers[0] + (1 - alpha) * layers[1]
    maps = (np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in (image, alpha, *layers))
    kind = torch.tensor([KINDS.index(kind) for kind in chosen])
    return Mattes(*map(torch.from_numpy, maps), kind)


def trimap(alpha: torch.Tensor, width: float | torch.Tensor) -> torch.Tensor:
    """Mark what is known: alpha (N, 1, S, S) -> 0 background, 1 foreground, 0.5 unknown.

    A pixel is unknown if one with 0 < alpha < 1, or the border between 0 and 1, lies
    within `width` pixels (one number, or one for each matte): the truth, eroded and
    dilated alike.
    """
    widths = torch.as_tensor(width, dtype=torch.float32).expand(len(alpha))
    if alpha.ndim != 4 or alpha.shape[1] != 1 or (widths < 0).any():
        raise ValueError(f"need alpha (N, 1, S, S) and width >= 0: {tuple(alpha.shape)}")
    marks = torch.full_like(alpha, 0.5)
    for values, mark, d in zip(alpha[:, 0].cpu().numpy(), marks, widths.tolist()):
        for mixed, value in ((values > 0.01, 0.0), (values < 0.99, 1.0)):
            away = (distance_transform_edt(~mixed) if mixed.any()
                    else np.full(mixed.shape, np.inf))
            mark[0][torch.from_numpy(away > d).to(mark.device)] = value
    return marks
