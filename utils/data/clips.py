"""Clips: objects from real textures that move, turn, grow and deform before a camera.

An object is a star-shaped blob whose outline swings. Its texture is carried along by the
same map, so that the optical flow is known exactly: a point keeps its polar coordinates
(share of the way to the outline, angle) in the blob's own frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import map_coordinates

from . import photos

_WAVES = np.arange(2, 5)  # swings of the outline: 2, 3 and 4 to a turn


@dataclass(frozen=True)
class Clips(photos.Pictures):
    """N clips of T frames of S x S pixels, as CPU tensors."""
    image: torch.Tensor  # (N, T, 3, S, S) float32 in 0..1
    instances: torch.Tensor  # (N, T, S, S) int64: 0, target 1, then look-alikes, others
    flow: torch.Tensor  # (N, T - 1, 2, S, S) float32, pixels to the right and down


def _path(rng: Generator, frames: int, step: float) -> np.ndarray:
    """A smooth path (T, 2) from 0: a drift and a swing, about `step` a frame."""
    time = np.arange(frames)[:, None]
    drift, swing = rng.uniform(-1, 1, (2, 1, 2))
    phase, pace = rng.uniform(0, 2 * np.pi, (1, 2)), rng.uniform(0.3, 0.6, (1, 2))
    path = drift * time + swing * np.sin(pace * time + phase) / pace
    return step * (path - path[0])


def _sample(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) at x (right), y (down) in pixels, bilinear: (..., 3)."""
    planes = [map_coordinates(texture[..., c], (y, x), order=1, mode="mirror")
              for c in range(3)]
    return np.stack(planes, -1)


class _Blob:
    """One object: its motion, drawn for all frames at once."""

    def __init__(self, rng: Generator, split: str, material: str, radius: float,
                 centre: np.ndarray, size: int, frames: int, motion: float,
                 deform: float) -> None:
        time = np.arange(frames)
        self.centre = centre + _path(rng, frames, 0.022 * size * motion)
        wall = size - radius  # reflected where it would leave the picture
        folded = np.abs((self.centre - radius) % (2 * (wall - radius)) - (wall - radius))
        self.centre = wall - folded
        self.turn = motion * rng.uniform(-0.12, 0.12) * time + rng.uniform(0, 2 * np.pi)
        swing = rng.uniform(0, 2 * np.pi)
        self.radius = radius * (1 + 0.2 * deform * np.sin(0.4 * time + swing))
        self.amplitude = rng.uniform(0.05, 0.16, 3)
        self.phase = rng.uniform(0, 2 * np.pi, 3)
        self.pace = deform * rng.uniform(-0.5, 0.5, 3)
        self.patch = photos.texture(rng, split, material, 2 * int(radius) + 8, scene=size)

    def outline(self, angle: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Distance from centre to outline at angles (T, ...) of frames (T, 1, 1)."""
        waves = (a * np.cos(k * angle + p + w * frame) for a, k, p, w in
                 zip(self.amplitude, _WAVES, self.phase, self.pace))
        return self.radius[frame] * (1 + sum(waves))

    def draw(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coverage (T, S, S), colour (T, S, S, 3) where covered, flow (T - 1, S, S, 2)."""
        frame = np.arange(len(self.centre))[:, None, None]
        grid = np.arange(size) + 0.5
        dx = grid[None, None, :] - self.centre[:, 0, None, None]
        dy = grid[None, :, None] - self.centre[:, 1, None, None]
        angle = np.arctan2(dy, dx) - self.turn[:, None, None]
        distance, reach = np.hypot(dx, dy), self.outline(angle, frame)
        cover, share = np.clip(reach - distance + 0.5, 0, 1), distance / reach
        middle, scale = (len(self.patch) - 1) / 2, self.radius.mean() * 0.8
        colour, seen = np.zeros((*cover.shape, 3), np.float32), cover > 0
        along = scale * share[seen]
        colour[seen] = _sample(self.patch, middle + along * np.cos(angle[seen]),
                               middle + along * np.sin(angle[seen]))
        later = share[:-1] * self.outline(angle[:-1], frame[1:])
        bearing = angle[:-1] + self.turn[1:, None, None]
        there = self.centre[1:, None, None] + np.stack(
            [later * np.cos(bearing), later * np.sin(bearing)], -1)
        here = np.stack(np.broadcast_arrays(grid[None, :], grid[:, None]), -1)
        return cover, colour, there - here


def _bar(rng: Generator, split: str, size: int, frames: int) -> tuple:
    """An upright post that sweeps across: coverage, colour and flow like a blob's."""
    width, pace = 0.22 * size, 1.4 * size / frames
    left = -width - 0.1 * size + pace * np.arange(frames)
    if rng.random() < 0.5:
        left, pace = size - width - left, -pace
    x = np.arange(size) + 0.5 - left[:, None]  # (T, S)
    cover = np.clip(np.minimum(x, width - x) + 0.5, 0, 1)
    wood = photos.crop(rng, split, size, jitter=0.3)
    rows = np.broadcast_to(np.arange(size)[None, :, None], (frames, size, size))
    colour = _sample(wood, np.broadcast_to(x[:, None], rows.shape), rows)
    flow = np.broadcast_to([pace, 0.0], (frames - 1, size, size, 2))
    return np.broadcast_to(cover[:, None], rows.shape), colour, flow


def clips(n: int, split: str = "train", size: int = 64, seed: int = 0, *,
          frames: int = 12, lookalikes: int = 1, others: int = 1, motion: float = 1.0,
          deform: float = 1.0, camera: float = 1.0, occlusion: float = 0.5,
          radius: tuple[float, float] = (0.14, 0.20), noise: float = 0.02) -> Clips:
    """Generate `n` clips of `size` x `size` pixels; equal arguments, equal bits.

    lookalikes: objects of the target's material; others: objects of other materials.
    motion, deform, camera: strength of the objects' motion, of their change of size and
        outline, and of the camera's motion (0 = none).
    occlusion: share of clips in which a post sweeps across, labelled background.
    radius: range of an object's mean radius over `size`.
    noise: standard deviation of the Gaussian noise added at the end.
    """
    rng = photos.generator(n, split, size, seed, 32)
    total = 1 + lookalikes + others
    if frames < 2 or lookalikes < 0 or not 0 <= others < len(photos.MATERIALS):
        raise ValueError("need frames >= 2, lookalikes >= 0 and 0 <= others <= 5")
    if not 4 / size <= radius[0] <= radius[1] <= 0.3 or not 0 <= occlusion <= 1:
        raise ValueError("need 4 / size <= radius low <= high <= 0.3, 0 <= occlusion <= 1")
    if min(motion, deform, camera, noise) < 0 or max(motion, deform, camera) > 2:
        raise ValueError("motion, deform and camera must be 0 to 2, noise at least 0")
    image = np.empty((n, frames, size, size, 3), np.float32)
    instances = np.zeros((n, frames, size, size), np.int64)
    flow = np.empty((n, frames - 1, size, size, 2), np.float32)
    for i in range(n):
        wide = 2 * size
        pan = _path(rng, frames, 0.010 * size * camera)
        x, y = (np.arange(size) + (wide - size) / 2 + pan[:, k, None] for k in (0, 1))
        ground = photos.crop(rng, split, wide, min_scale=0.6, jitter=0.25)
        image[i] = _sample(ground, *np.broadcast_arrays(x[:, None], y[..., None]))
        flow[i] = (pan[:-1] - pan[1:])[:, None, None]
        materials = rng.permutation(photos.MATERIALS)[:others + 1]
        spots = rng.permutation(9)[:total] if total <= 9 else rng.integers(9, size=total)
        layers = []
        for k in range(total):
            material = str(materials[max(0, k - lookalikes)])
            spot = (np.array([spots[k] % 3, spots[k] // 3]) + 0.5) / 3 * size
            blob = _Blob(rng, split, material, size * rng.uniform(*radius), spot, size,
                         frames, motion, deform)
            layers.append((k + 1, *blob.draw(size)))
        layers = [layers[k] for k in rng.permutation(total)]  # who hides whom
        if rng.random() < occlusion:
            layers.append((0, *_bar(rng, split, size, frames)))
        for number, cover, colour, moved in layers:
            image[i] += cover[..., None] * (colour - image[i])
            mine = cover >= 0.5
            instances[i][mine] = number
            flow[i][mine[:-1]] = moved[mine[:-1]]
    image += noise * rng.standard_normal(image.shape, np.float32)
    image = image.clip(0, 1).transpose(0, 1, 4, 2, 3)
    arrays = image, instances, flow.transpose(0, 1, 4, 2, 3)
    return Clips(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays))


KINDS = ("stops", "starts", "pauses")


@dataclass(frozen=True)
class StopAndGo(photos.Pictures):
    """N clips of T frames in which one of two objects moves at times, as CPU tensors."""
    image: torch.Tensor  # (N, T, 3, S, S) float32 in 0..1
    instances: torch.Tensor  # (N, T, S, S) int64: 0, target 1, look-alike 2
    flow: torch.Tensor  # (N, T, 2, S, S) float32, from each frame on, pixels right and down
    moves: torch.Tensor  # (N, T) bool: the target moves on from this frame
    kind: torch.Tensor  # (N,) int64, into KINDS


def _timing(rng: Generator, kind: str, frames: int) -> np.ndarray:
    """From which of the frames (T,) the object moves on: at least 2 and not all of them."""
    moves, early = np.zeros(frames, bool), int(rng.integers(2, frames // 2))
    if kind == "stops":
        moves[:early + 1] = True
    elif kind == "starts":
        moves[frames - early - 2:] = True
    else:
        moves[:early - 1], moves[early + 3:] = True, True
    return moves


def stop_and_go(n: int, split: str = "train", size: int = 96, seed: int = 0, *,
                frames: int = 10, radius: tuple[float, float] = (0.13, 0.19),
                step: tuple[float, float] = (0.030, 0.055), noise: float = 0.02,
                ) -> StopAndGo:
    """Generate `n` clips of `size` x `size` pixels before a camera that stands still.

    Two objects of one material do not touch. The target moves in some of the frames: it
    "stops", "starts" or "pauses", in turn (KINDS). The look-alike never moves; it stands
    where it would have stood as the target. So the two are exchangeable: a frame in which
    nothing moves says nothing about which is which.

    frames: 8 to 12.
    radius, step: ranges of an object's mean radius and of its way in a moving frame, over
        `size`: at most 0.2 (the lower end 0.15) and 0.06.
    noise: standard deviation of the Gaussian noise added to every frame.
    Equal arguments, equal bits. ValueError for numbers out of range.
    """
    rng = photos.generator(n, split, size, seed, 32)
    photos.whole("frames", frames, 8)
    if frames > 12:
        raise ValueError(f"frames must be at most 12, so that the way fits, not {frames}")
    if not 4 / size <= radius[0] <= radius[1] <= 0.2 or radius[0] > 0.15:
        raise ValueError("need 4 / size <= radius low <= high <= 0.2 and low <= 0.15: two "
                         "objects must fit side by side")
    if not 0 < step[0] <= step[1] <= 0.06:
        raise ValueError("need 0 < step low <= high <= 0.06")
    if noise < 0:
        raise ValueError("noise must be at least 0")
    image = np.empty((n, frames, size, size, 3), np.float32)
    instances = np.zeros((n, frames, size, size), np.int64)
    flow = np.zeros((n, frames, 2, size, size), np.float32)
    moves = np.empty((n, frames), bool)
    for i in range(n):
        image[i] = photos.crop(rng, split, size, min_scale=0.5, jitter=0.25)
        material, kind = str(rng.choice(photos.MATERIALS)), KINDS[i % len(KINDS)]
        moves[i] = _timing(rng, kind, frames)
        blobs, ways = _apart(rng, split, material, size, moves[i], radius, step)
        here = np.cumsum(moves[i]) - moves[i]  # how many steps lead to each frame
        still = here[~moves[i]][0]
        for number, (blob, way) in enumerate(zip(blobs, ways), 1):
            places = way[[still]] if number == 2 else way[:here.max() + 1]
            blob.centre, blob.turn = places, blob.turn[:len(places)]
            cover, colour, _ = blob.draw(size)
            at = here if number == 1 else 0 * here
            image[i] += cover[at, ..., None] * (colour[at] - image[i])
            instances[i][cover[at] >= 0.5] = number
        ahead = np.diff(ways[0], axis=0)[np.minimum(here, len(ways[0]) - 2)]
        ahead = np.where(moves[i][:, None], ahead, 0)[..., None, None]  # (T, 2, 1, 1)
        flow[i] = ahead * (instances[i] == 1)[:, None]
    image += noise * rng.standard_normal(image.shape, np.float32)
    image = image.clip(0, 1).transpose(0, 1, 4, 2, 3)
    arrays = image, instances, flow, moves, np.arange(n) % len(KINDS)
    return StopAndGo(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays))


def _apart(rng: Generator, split: str, material: str, size: int, moves: np.ndarray,
           radius: tuple[float, float], step: tuple[float, float]) -> tuple[list, list]:
    """Two blobs and the way (steps + 1, 2) of each, inside the picture and apart.

    Either keeps clear of the place where the other stands, so that they can change roles.
    """
    count = int(moves.sum())
    still = int((np.cumsum(moves) - moves)[~moves][0])
    while True:
        blobs = [_Blob(rng, split, material, size * rng.uniform(*radius), np.zeros(2), size,
                       len(moves) + 1, 0.0, 0.0) for _ in range(2)]
        far = [float(b.outline(np.linspace(0, 2 * np.pi, 90), np.array([0])).max())
               for b in blobs]
        for _ in range(100):
            ways = []
            for reach in far:
                turn = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.12, 0.12) * np.arange(count)
                way = np.cumsum(size * rng.uniform(*step)
                                * np.stack([np.cos(turn), np.sin(turn)], 1), 0)
                way = np.concatenate([np.zeros((1, 2)), way])
                low, high = reach + 1 - way.min(0), size - reach - 1 - way.max(0)
                ways.append(way + low + rng.random(2) * (high - low))
            inside = all((w.min(0) >= r).all() and (w.max(0) <= size - r).all()
                         for w, r in zip(ways, far))
            gaps = [np.hypot(*(ways[a] - ways[1 - a][still]).T).min() for a in (0, 1)]
            if inside and min(gaps) > sum(far) + 2:
                return blobs, ways
