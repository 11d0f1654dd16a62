"""Scenes: textured objects over photographs, with exact labels.

Each object is a shape (told by its outline) cut from a material (told by its
texture) and pasted over a photograph. Labels come from the outlines, not from the
pixels, so they are exact; edges inside a texture or a photograph are no labels.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import find_objects

from . import photos

SHAPES = ("disc", "square", "triangle", "star", "cross", "ring")
KINDS = {  # names of the classes 1..6 under each `class_by`
    "shape": SHAPES,
    "texture": photos.MATERIALS,
    "both": tuple(f"{m} {s}" for s, m in zip(SHAPES, photos.MATERIALS)),
}
_TRIES = 200  # attempts at a layout before the options are called impossible
_SEEN = 0.35  # least visible share of every object

Circle = tuple[float, float, float]  # x, y, radius in pixels
Outline = tuple[tuple[slice, slice], np.ndarray]  # window, and coverage 0..1 in it


@dataclass(frozen=True)
class Scenes:
    """N generated scenes of S x S pixels, as CPU tensors.

    image (N, 3, S, S) float32 in 0..1; classes and instances (N, S, S) int64, 0 in the
    background, instances in the order of painting (a higher number lies in front);
    boundary (N, S, S) float32 0/1, see `boundaries`; boxes, per scene (k, 4) float32
    x1 y1 x2 y2 of the visible pixels, x2 and y2 exclusive, row i for instance i + 1;
    box_classes, per scene (k,) int64; class_names, the name of each class.
    """

    image: torch.Tensor
    classes: torch.Tensor
    instances: torch.Tensor
    boundary: torch.Tensor
    boxes: list[torch.Tensor]
    box_classes: list[torch.Tensor]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.image)


def distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to a shape inside the unit circle, negative inside it.

    `u`, `v` are coordinates, in units of the radius, right and down. Outside of
    corners the distance is a lower bound, which is all that a smooth edge needs.
    """
    photos.one_of("shape", shape, SHAPES)
    if shape == "disc":
        return np.hypot(u, v) - 1
    if shape == "ring":
        return np.abs(np.hypot(u, v) - 0.74) - 0.26
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - np.sqrt(0.5)
    if shape == "cross":
        long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
        return np.maximum(long - 0.94, short - 0.33)
    if shape == "triangle":
        return np.maximum(v - 0.5, 0.5 * (np.sqrt(3) * np.abs(u) - v) - 0.5)
    sector = 2 * np.pi / 5  # star: folded onto a tenth, one straight edge remains
    angle = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
    radius = np.hypot(u, v)
    end = 0.45 * np.cos(sector / 2), 0.45 * np.sin(sector / 2)  # the inner corner
    normal = np.array([end[1], 1 - end[0]])
    normal /= np.linalg.norm(normal)
    return (radius * np.cos(angle) - 1) * normal[0] + radius * np.sin(angle) * normal[1]


def boundaries(instances: np.ndarray) -> np.ndarray:
    """Pixels with a lower number above, below, left or right of them: (..., S, S) bool.

    The line is one pixel wide and lies on the object in front. The rule treats the
    four directions alike, so mirrored or turned labels have mirrored boundaries.
    """
    edge = np.zeros(instances.shape, bool)
    for axis in (-1, -2):
        ids, line = instances.swapaxes(-1, axis), edge.swapaxes(-1, axis)
        line[..., 1:] |= ids[..., 1:] > ids[..., :-1]
        line[..., :-1] |= ids[..., :-1] > ids[..., 1:]
    return edge


def tight(instances: np.ndarray) -> np.ndarray:
    """Boxes (k, 4) float32 x1 y1 x2 y2 about the visible pixels of 1..k in (S, S)."""
    windows = find_objects(instances)
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in windows]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _circles(rng: Generator, count: int, size: int, scale: tuple[float, float],
             overlap: bool) -> list[Circle]:
    """Random circles; without overlap two pixels or more apart, as many as fit."""
    low, high = scale
    radii = (size * (low + (high - low) * rng.random(count)) / 2).tolist()
    placed: list[Circle] = []
    for radius in radii if overlap else sorted(radii, reverse=True):
        for _ in range(_TRIES // 10):
            x, y = radius + (size - 2 * radius) * rng.random(2)
            gaps = (math.hypot(x - a, y - b) - radius - r for a, b, r in placed)
            if overlap or all(gap >= 2 for gap in gaps):
                placed.append((x, y, radius))
                break
        else:
            break
    return placed


def _outline(rng: Generator, shape: str, circle: Circle, size: int,
             rotate: bool) -> Outline:
    """A shape in its circle; coverage runs from 0 to 1 over the pixels of its edge."""
    x, y, radius = circle
    left, top = int(x - radius), int(y - radius)
    right, bottom = min(int(x + radius) + 1, size), min(int(y + radius) + 1, size)
    u = ((np.arange(left, right) + (0.5 - x)) / radius)[None, :]
    v = ((np.arange(top, bottom) + (0.5 - y)) / radius)[:, None]
    if rotate and shape not in ("disc", "ring"):
        angle = 2 * math.pi * rng.random()
        cos, sin = math.cos(angle), math.sin(angle)
        u, v = u * cos - v * sin, u * sin + v * cos
    alpha = np.minimum(np.maximum(0.5 - radius * distance(shape, u, v), 0), 1)
    return np.s_[top:bottom, left:right], alpha.astype(np.float32)


def _layout(rng: Generator, shapes: np.ndarray, size: int, scale: tuple[float, float],
            overlap: bool, rotate: bool) -> tuple[list[Outline], np.ndarray]:
    """Outlines of the shapes and instances (S, S), every object visible enough."""
    count = len(shapes)
    for _ in range(_TRIES):
        circles = _circles(rng, count, size, scale, overlap)
        if len(circles) < count:
            continue
        ids, whole, outlines = np.zeros((size, size), np.int64), np.zeros(count), []
        for i, (shape, circle) in enumerate(zip(shapes, circles)):
            outlines.append(_outline(rng, SHAPES[shape], circle, size, rotate))
            window, alpha = outlines[i]
            ids[window][alpha >= 0.5] = i + 1
            whole[i] = np.count_nonzero(alpha >= 0.5)
        seen = np.bincount(ids.ravel(), minlength=count + 1)[1:]
        if (seen >= _SEEN * whole).all():
            return outlines, ids
    raise ValueError(f"no room for {count} objects of scale {scale} with overlap="
                     f"{overlap}: use fewer or smaller objects")


def _paste(canvas: np.ndarray, outline: Outline, patch: np.ndarray,
           contrast: float = 1.0) -> None:
    """Blend a patch into the canvas; contrast scales its mean's distance to it."""
    below, alpha = canvas[outline[0]], outline[1][..., None]
    change = patch[: alpha.shape[0], : alpha.shape[1]] - below
    if contrast != 1:
        change = change + (contrast - 1) * (alpha * change).sum((0, 1)) / alpha.sum()
    below += alpha * change


def _ground(rng: Generator, split: str, size: int, choice: str, clutter: float,
            rotate: bool) -> np.ndarray:
    """A photograph or material, and small patches of photographs upon it: (S, S, 3)."""
    if choice in photos.MATERIALS:
        canvas = photos.texture(rng, split, choice, size)
    else:
        canvas = photos.crop(rng, split, size, name=choice, jitter=0.25)
    pool = photos.PHOTOS[split]
    for _ in range(rng.poisson(clutter)):
        radius = size * (0.04 + 0.04 * rng.random())
        x, y = radius + (size - 2 * radius) * rng.random(2)
        outline = _outline(rng, SHAPES[rng.integers(2)], (x, y, radius), size, rotate)
        name, width = pool[rng.integers(len(pool))], max(outline[1].shape)
        _paste(canvas, outline, photos.piece(rng, name, width, size, 2.5 * size, 0.5))
    return canvas


def scenes(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
           objects: tuple[int, int] = (2, 4), class_by: str = "shape",
           overlap: bool = True, scale: tuple[float, float] = (0.25, 0.55),
           rotate: bool = True, clutter: float = 0.0, contrast: float = 1.0) -> Scenes:
    """Generate `n` scenes of `size` x `size` pixels; equal arguments, equal bits.

    objects: least and greatest number of objects in a scene.
    class_by: "shape" (any material, six shapes), "texture" (any shape, six
        materials) or "both" (shape i is always made of material i).
    overlap: whether objects may hide parts of each other; at least 35 % of each
        stays visible. Without it, two pixels or more lie between any two.
    scale: range of an object's diameter (its circumscribed circle) over `size`.
    rotate: whether objects are turned by a random angle.
    clutter: expected number of small patches of photographs, labelled background.
    contrast: factor on the difference of mean colour between an object and what it
        covers: at 0 only the texture gives it away.
    """
    rng = photos.generator(n, split, size, seed, 16)
    photos.one_of("class_by", class_by, tuple(KINDS))
    if len(objects) != 2 or not 0 <= objects[0] <= objects[1]:
        raise ValueError(f"objects must be 0 <= low <= high, got {objects}")
    if len(scale) != 2 or not 8 / size <= scale[0] <= scale[1] <= 0.95:
        least = f"{8 / size:.3f} (8 pixels)"
        raise ValueError(f"scale must be {least} <= low <= high <= 0.95, got {scale}")
    if not 0 <= clutter <= 50 or not 0 <= contrast <= 2:
        raise ValueError("need 0 <= clutter <= 50 and 0 <= contrast <= 2")
    image = np.empty((n, 3, size, size), np.float32)
    instances, classes = np.zeros((2, n, size, size), np.int64)
    boxes, labels, names = [], [], photos.MATERIALS
    for i in range(n):
        count = int(rng.integers(objects[0], objects[1] + 1))
        shapes, materials = rng.integers(len(SHAPES), size=(2, count))
        if class_by == "both":
            materials = shapes
        elif class_by == "shape" and count <= len(names):  # each of its own material
            materials = rng.permutation(len(names))[:count]
        outlines, instances[i] = _layout(rng, shapes, size, scale, overlap, rotate)
        pool = photos.PHOTOS[split]
        if class_by == "shape":
            pool += tuple(m for k, m in enumerate(names) if k not in materials)
        choice = pool[rng.integers(len(pool))]
        canvas = _ground(rng, split, size, choice, clutter, rotate)
        for outline, k in zip(outlines, materials):
            width = max(outline[1].shape)
            patch = photos.texture(rng, split, names[k], width, scene=size)
            _paste(canvas, outline, patch, contrast)
        image[i] = canvas.transpose(2, 0, 1).clip(0, 1)
        label = 1 + (materials if class_by == "texture" else shapes)
        classes[i] = np.append(0, label)[instances[i]]
        labels.append(torch.from_numpy(label))
        boxes.append(torch.from_numpy(tight(instances[i])))
    boundary = boundaries(instances).astype(np.float32)
    maps = map(torch.from_numpy, (image, classes, instances, boundary))
    return Scenes(*maps, boxes, labels, ("background", *KINDS[class_by]))
