"""Wires: the colour at a wire's head is the answer along all of its length.

Three to five grey wires, two pixels thick, run side by side through a dark picture, all
across or all down. Each begins in a red, green or blue head. Away from the head nothing
near a pixel tells its class: whoever sees less than the way to the head has to guess.
"""

from dataclasses import dataclass

import numpy as np
import torch

from . import photos

NAMES = ("background", "red", "green", "blue")
SIDES = ("left", "right", "top", "bottom")
PAINTS = np.array([[0.9, 0.35, 0.1], [0.1, 0.75, 0.5], [0.15, 0.45, 0.95]], np.float32)
DARK, PITCH, THICK, HEAD = 0.12, 4, 2, 2  # background; pixels from wire to wire, of a wire


@dataclass(frozen=True)
class Wires(photos.Pictures):
    """N pictures of S x S pixels, as CPU tensors."""
    image: torch.Tensor  # (N, 3, S, S) float32 in 0..1
    classes: torch.Tensor  # (N, S, S) int64, index into class_names
    distance: torch.Tensor  # (N, S, S) int64, pixels to the head: 0 in it, -1 off the wires
    side: torch.Tensor  # (N, S, S) int64, index into SIDES: where the head lies, or -1
    class_names: tuple[str, ...]  # NAMES


def wires(n: int, split: str = "train", size: int = 32, seed: int = 0, *,
          count: tuple[int, int] = (3, 5), length: tuple[float, float] = (0.65, 0.95),
          noise: float = 0.05) -> Wires:
    """Generate `n` pictures of `size` x `size` pixels; equal arguments, equal bits.

    count: least and greatest number of wires in a picture, at most (size - 3) // 4.
    length: shortest and longest wire with its head, as a share of the side.
    noise: standard deviation of the Gaussian noise on the colours; it changes nothing else.
    """
    rng = photos.generator(n, split, size, seed, 16)
    slots = (size - PITCH + 1) // PITCH
    if len(count) != 2 or not 1 <= count[0] <= count[1] <= slots:
        raise ValueError(f"count must be 1 <= low <= high <= {slots}, got {count!r}")
    if len(length) != 2 or not 0.25 <= length[0] <= length[1] <= 1:
        raise ValueError(f"length must be 0.25 <= low <= high <= 1, got {length!r}")
    if noise < 0:
        raise ValueError(f"noise must be >= 0, got {noise}")
    number = rng.integers(count[0], count[1] + 1, n)
    taken = rng.permuted(np.tile(np.arange(slots), (n, 1)), axis=1) < number[:, None]
    colour = rng.integers(3, size=(n, slots))
    long = rng.integers(round(length[0] * size), round(length[1] * size) + 1, (n, slots))
    first = (rng.random((n, slots)) * (size - long + 1)).astype(int)
    right, grey = rng.random((n, slots)) < 0.5, rng.uniform(0.45, 0.65, (n, slots))
    margin, down = rng.integers(PITCH, size=(n, 1)), rng.random(n) < 0.5

    row = np.arange(size) - margin                                   # (n, S)
    slot = (row // PITCH).clip(0, slots - 1)
    line = (row >= 0) & (row < slots * PITCH) & (row % PITCH < THICK)
    taken, colour, long, first, right, grey = (
        np.take_along_axis(a, slot, 1)[..., None]                    # (n, S, 1)
        for a in (taken, colour, long, first, right, grey.astype(np.float32)))
    along = np.arange(size) - first                                  # (n, S, S)
    on = line[..., None] & taken & (along >= 0) & (along < long)
    way = np.where(right, long - 1 - along, along)  # pixels from the end with the head
    classes = np.where(on, colour + 1, 0)
    distance = np.where(on, np.maximum(way - HEAD + 1, 0), -1)
    image = np.where(on, grey, np.float32(DARK))[..., None]
    image = np.where((on & (way < HEAD))[..., None], PAINTS[colour], image)
    turn = down[:, None, None]
    side = np.where(on, np.where(turn, 2, 0) + right, -1)
    classes, distance, side = (np.where(turn, a.transpose(0, 2, 1), a)
                               for a in (classes, distance, side))
    image = np.where(turn[..., None], image.transpose(0, 2, 1, 3), image)
    image = image + noise * rng.standard_normal(image.shape, np.float32)
    image = np.ascontiguousarray(image.clip(0, 1).transpose(0, 3, 1, 2), np.float32)
    return Wires(*map(torch.from_numpy, (image, classes, distance, side)), NAMES)
