"""Scenes: textured objects over photographs, with exact labels.

Each object is a shape cut from a material and pasted over a photograph. Labels come
from the outlines, so they are exact; edges inside a material are no labels.
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
Outline = tuple[tuple[slice, slice], np.ndarray]  # window, and coverage 0..1 in it


@dataclass(frozen=True)
class Scenes(photos.Pictures):
    """N generated scenes of S x S pixels with k objects each, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    classes: torch.Tensor  # (N, S, S) int64, 0 background, 1..K
    instances: torch.Tensor  # (N, S, S) int64, 0 background, 1.. from back to front
    boundary: torch.Tensor  # (N, S, S) float32 0/1, see `boundaries`
    boxes: list[torch.Tensor]  # per scene (k, 4) float32 of instances 1..k, see `tight`
    box_classes: list[torch.Tensor]  # per scene (k,) int64, their classes
    class_names: tuple[str, ...]  # of the classes 0 ("background"), 1..K


def distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Distance of u, v (right, down) to a shape in the unit circle, negative inside."""
    photos.one_of("shape", shape, SHAPES)
    a, b = np.abs(u), np.abs(v)
    if shape == "disc":
        return np.hypot(u, v) - 1
    if shape == "ring":
        return np.abs(np.hypot(u, v) - 0.74) - 0.26
    if shape == "square":
        return np.maximum(a, b) - np.sqrt(0.5)
    if shape == "cross":
        return np.maximum(np.maximum(a, b) - 0.94, np.minimum(a, b) - 0.33)
    if shape == "triangle":
        return np.maximum(v - 0.5, 0.5 * (np.sqrt(3) * a - v) - 0.5)
    sector = 2 * np.pi / 5  # star: folded onto a tenth, one straight edge remains
    angle = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
    radius = np.hypot(u, v)
    end = 0.45 * np.cos(sector / 2), 0.45 * np.sin(sector / 2)  # the inner corner
    normal = np.array([end[1], 1 - end[0]])
    normal /= np.linalg.norm(normal)
    return (radius * np.cos(angle) - 1) * normal[0] + radius * np.sin(angle) * normal[1]


def boundaries(instances: np.ndarray) -> np.ndarray:
    """Pixels with a lower number above, below, left or right: (..., S, S) bool."""
    edge = np.zeros(instances.shape, bool)
    for axis in (-1, -2):
        ids, line = instances.swapaxes(-1, axis), edge.swapaxes(-1, axis)
        line[..., 1:] |= ids[..., 1:] > ids[..., :-1]
        line[..., :-1] |= ids[..., :-1] > ids[..., 1:]
    return edge


def tight(instances: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 (k, 4) float32 about each of 1..k in (S, S); x2, y2 are exclusive."""
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in find_objects(instances)]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _circles(rng: Generator, radii: list[float], size: int, overlap: bool) -> list:
    """Circles (x, y, radius); without overlap two pixels apart, as many as fit."""
    placed: list[tuple[float, float, float]] = []
    for radius in radii if overlap else sorted(radii, reverse=True):
        for _ in range(20):
            x, y = radius + (size - 2 * radius) * rng.random(2)
            gaps = (math.hypot(x - a, y - b) - radius - r for a, b, r in placed)
            if overlap or all(gap >= 2 for gap in gaps):
                placed.append((x, y, radius))
                break
        else:
            break
    return placed


def _outline(rng: Generator, shape: str, x: float, y: float, radius: float, size: int,
             rotate: bool) -> Outline:
    """A shape in its circle; coverage runs from 0 to 1 over the pixels of its edge."""
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
    (low, high), count = scale, len(shapes)
    for _ in range(200):
        radii = (size * (low + (high - low) * rng.random(count)) / 2).tolist()
        circles = _circles(rng, radii, size, overlap)
        if len(circles) < count:
            continue
        ids, whole, outlines = np.zeros((size, size), np.int64), np.zeros(count), []
        for i, (shape, circle) in enumerate(zip(shapes, circles)):
            outlines.append(_outline(rng, SHAPES[shape], *circle, size, rotate))
            window, alpha = outlines[i]
            ids[window][alpha >= 0.5] = i + 1
            whole[i] = np.count_nonzero(alpha >= 0.5)
        seen = np.bincount(ids.ravel(), minlength=count + 1)[1:]
        if (seen >= 0.35 * whole).all():
            return outlines, ids
    raise ValueError(f"no room for {count} objects of scale {scale}: fewer or smaller?")


def _paste(canvas: np.ndarray, outline: Outline, patch: np.ndarray,
           contrast: float = 1.0) -> None:
    """Blend a patch into the canvas; contrast scales its mean's distance to it."""
    below, alpha = canvas[outline[0]], outline[1][..., None]
    change = patch[: alpha.shape[0], : alpha.shape[1]] - below
    if contrast != 1:
        change = change + (contrast - 1) * (alpha * change).sum((0, 1)) / alpha.sum()
    below += alpha * change


def _ground(rng: Generator, split: str, size: int, pool: tuple[str, ...],
            clutter: float, rotate: bool) -> np.ndarray:
    """A picture (S, S, 3) of the pool, and small patches of photographs upon it."""
    choice = pool[rng.integers(len(pool))]
    canvas = (photos.texture(rng, split, choice, size) if choice in photos.MATERIALS
              else photos.crop(rng, split, size, name=choice, jitter=0.25))
    for _ in range(rng.poisson(clutter)):
        radius = size * (0.04 + 0.04 * rng.random())
        x, y = radius + (size - 2 * radius) * rng.random(2)
        outline = _outline(rng, SHAPES[rng.integers(2)], x, y, radius, size, rotate)
        name = photos.PHOTOS[split][rng.integers(len(photos.PHOTOS[split]))]
        patch = photos.piece(rng, name, max(outline[1].shape), size, 2.5 * size, 0.5)
        _paste(canvas, outline, patch)
    return canvas


def scenes(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
           objects: tuple[int, int] = (2, 4), class_by: str = "shape",
           overlap: bool = True, scale: tuple[float, float] = (0.25, 0.55),
           rotate: bool = True, clutter: float = 0.0, contrast: float = 1.0) -> Scenes:
    """Generate `n` scenes of `size` x `size` pixels; equal arguments, equal bits.

    objects: least and greatest number of objects in a scene.
    class_by: "shape" (of any material), "texture" (materials, in any shape) or "both"
        (shape i is always made of material i); six classes each.
    overlap: objects may hide up to 65 % of each other, else are two pixels apart.
    scale: range of an object's diameter (its circumscribed circle) over `size`.
    rotate: whether objects are turned by a random angle.
    clutter: expected number of small patches of photographs, labelled background.
    contrast: factor on an object's difference in mean colour from what it covers.
    """
    rng = photos.generator(n, split, size, seed, 16)
    photos.one_of("class_by", class_by, tuple(KINDS))
    if len(objects) != 2 or not 0 <= objects[0] <= objects[1]:
        raise ValueError(f"objects must be 0 <= low <= high, got {objects}")
    if len(scale) != 2 or not 8 / size <= scale[0] <= scale[1] <= 0.95:
        raise ValueError(f"scale must be 8 / size <= low <= high <= 0.95, got {scale}")
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
        canvas = _ground(rng, split, size, pool, clutter, rotate)
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
