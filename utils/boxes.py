"""What every box detector needs: default boxes, IoU, matching, coding, suppression.

Boxes are in pixels. Annotated and detected boxes are given by their corners, x1 y1 x2 y2
with x2, y2 exclusive; default boxes by their centre and sides, x y w h. Offsets, matching
and hard negative mining are those of SSD (Liu et al., ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

VARIANCES = 0.1, 0.2
"""The divisors of SSD's release for places and for logarithms of sides."""


def default_boxes(size: tuple[int, int], strides: Sequence[int],
                  shapes: Sequence[Sequence[tuple[float, float]]]) -> Tensor:
    """The default boxes of a detector's levels: (A, 4), x y w h.

    size: height and width of the picture. Level l has a cell for every ``strides[l]``
    pixels and, about the middle of each cell, a box for each (w, h) of ``shapes[l]``.
    Order: level, row, column, shape, as `permute(0, 2, 3, 1).reshape` leaves a head's maps.
    Raises ValueError where levels and shapes differ in number or a stride does not divide
    the picture.
    """
    if len(strides) != len(shapes):
        raise ValueError(f"{len(strides)} strides and {len(shapes)} lists of shapes: give "
                         "one list of (width, height) for each level")
    levels = []
    for stride, sides in zip(strides, shapes):
        if any(n % stride for n in size):
            raise ValueError(f"stride {stride} does not divide a picture of {size[0]} x "
                             f"{size[1]}: pad or resize it")
        rows, columns = (torch.arange(n // stride) + 0.5 for n in size)
        y, x = torch.meshgrid(rows * stride, columns * stride, indexing="ij")
        side = torch.tensor(sides, dtype=torch.float32)                  # (k, 2)
        centre = torch.stack([x, y], -1)[:, :, None].expand(-1, -1, len(side), 2)
        boxes = torch.cat([centre, side.expand_as(centre)], -1)          # (h, w, k, 4)
        levels.append(boxes.reshape(-1, 4))
    return torch.cat(levels)


def to_corners(boxes: Tensor) -> Tensor:
    """x y w h -> x1 y1 x2 y2, each (..., 4)."""
    centre, side = boxes.split(2, -1)
    return torch.cat([centre - side / 2, centre + side / 2], -1)


def to_centres(boxes: Tensor) -> Tensor:
    """x1 y1 x2 y2 -> x y w h, each (..., 4)."""
    low, high = boxes.split(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of all pairs of boxes by corners: (m, 4), (n, 4) -> (m, n)."""
    low = torch.maximum(a[:, None, :2], b[:, :2])                        # (m, n, 2)
    high = torch.minimum(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)                          # (m, n)
    areas = [(v[:, 2:] - v[:, :2]).prod(-1) for v in (a, b)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def encode(boxes: Tensor, priors: Tensor) -> Tensor:
    """Boxes by corners (A, 4) relative to default boxes (A, 4): offsets (A, 4)."""
    g, (place, side) = to_centres(boxes), VARIANCES
    return torch.cat([(g[:, :2] - priors[:, :2]) / (place * priors[:, 2:]),
                      (g[:, 2:] / priors[:, 2:]).log() / side], 1)


def decode(offsets: Tensor, priors: Tensor) -> Tensor:
    """The inverse of `encode`: offsets (A, 4), default boxes (A, 4) -> corners (A, 4)."""
    place, side = VARIANCES
    centre = priors[:, :2] + place * offsets[:, :2] * priors[:, 2:]
    sides = priors[:, 2:] * (side * offsets[:, 2:]).exp()
    return to_corners(torch.cat([centre, sides], 1))


def match(boxes: Tensor, classes: Tensor, priors: Tensor,
          least: float = 0.5) -> tuple[Tensor, Tensor]:
    """What each default box is asked for: classes (A,), 0 for background, offsets (A, 4).

    boxes (k, 4) by corners and classes (k,) from 1 are the objects of one picture, k may
    be 0. A default box takes the object that it overlaps most, from an IoU of ``least``
    on; and the best default box of each object takes it in any case.
    """
    if not len(boxes):
        return (torch.zeros(len(priors), dtype=torch.long), torch.zeros(len(priors), 4))
    shared = iou(boxes, to_corners(priors))                              # (k, A)
    best, owner = shared.max(0)                                          # (A,), (A,)
    own = shared.argmax(1)                                               # (k,)
    best[own], owner[own] = 1.0, torch.arange(len(boxes))
    labels = torch.where(best >= least, classes[owner], 0)
    return labels, encode(boxes[owner], priors)


def multibox_loss(scores: Tensor, offsets: Tensor, labels: Tensor, target: Tensor,
                  negatives: int = 3) -> dict[str, Tensor]:
    """SSD's loss with hard negatives: {"loss", "what", "where"}, each per matched box.

    scores (N, A, K+1) and offsets (N, A, 4) from the network; labels (N, A) and target
    (N, A, 4) from `match`. Of each picture's background boxes only the worst
    ``negatives`` for every matched one count.
    """
    matched = labels > 0
    each = F.cross_entropy(scores.transpose(1, 2), labels, reduction="none")  # (N, A)
    error = each.detach().masked_fill(matched, -1)                       # negatives compete
    rank = error.argsort(1, descending=True).argsort(1)
    hard = rank < negatives * matched.sum(1, keepdim=True)
    n = matched.sum().clamp(min=1)
    what = each[matched | hard].sum() / n
    where = F.smooth_l1_loss(offsets[matched], target[matched], reduction="sum") / n
    return {"loss": what + where, "what": what, "where": where}


def suppress(boxes: Tensor, scores: Tensor, limit: float = 0.45) -> Tensor:
    """Non-maximum suppression: indices of the boxes (k, 4) that survive, by falling score.

    A box goes if it overlaps a better one by more than ``limit``.
    """
    order = scores.argsort(descending=True)
    near = (iou(boxes[order], boxes[order]) > limit).numpy()
    keep = np.ones(len(order), bool)
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1:] &= ~near[i, i + 1:]
    return order[torch.from_numpy(keep)]


def detect(scores: Tensor, offsets: Tensor, priors: Tensor, least: float = 0.01,
           most: int = 100, limit: float = 0.45) -> tuple[Tensor, Tensor, Tensor]:
    """One picture's outputs (A, K+1), (A, 4) -> boxes (k, 4), scores (k,), labels (k,).

    The 200 best scores above ``least`` compete, each class for itself (its boxes are
    moved far from those of the others), and at most ``most`` survive.
    """
    p = scores.softmax(-1)[:, 1:]                                        # (A, K)
    score, place = p.flatten().topk(min(200, p.numel()))
    score, place = score[score > least], place[score > least]
    prior, label = place // p.shape[1], place % p.shape[1] + 1
    boxes = decode(offsets[prior], priors[prior])
    kept = suppress(boxes + 1e4 * label[:, None], score, limit)[:most]
    return boxes[kept], score[kept], label[kept]
