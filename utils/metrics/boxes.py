"""Precision and recall of detections and proposals, as COCO computes them.

Regions are boxes (k, 4), x1 y1 x2 y2 in pixels, or masks (k, H, W), non-zero inside.
``sizes`` gives names to ranges of the square root of a region's area, in pixels; objects
outside a range are ignored there, not counted as missed. ``pycocotools`` does the work.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._shared import array

IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""COCO's ten overlaps, 0.5 to 0.95."""
Sizes = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Detection:
    """COCO's average precision at one IoU; NaN where there is no object to find."""

    mean: float  # over the classes that occur
    by_class: dict[str, float]
    by_size: dict[str, float]  # each the mean over classes


@dataclass(frozen=True)
class Recall:
    """COCO's average recall of proposals; NaN where there is no object to find."""

    mean: float  # over the IoUs
    by_iou: dict[float, float]  # IoU to two digits -> share of objects found
    by_size: dict[str, float]  # each the mean over the IoUs


def average_precision(predictions: Sequence[tuple[Tensor, Tensor, Tensor]],
                      truths: Sequence[tuple[Tensor, Tensor]],
                      class_names: Sequence[str], iou: float = 0.5,
                      sizes: Sizes | None = None) -> Detection:
    """Average precision of detections as COCO computes it (``pycocotools``).

    ``predictions``: per image regions, scores (k,) and labels (k,); ``truths``: per
    image regions and labels. Labels are 1..K into ``class_names``, whose entry 0 is the
    background. Precision is interpolated at 101 recalls; at most 100 detections an image
    count. Raises ValueError when numbers, shapes, corners or labels do not fit.
    """
    precision = _evaluate(predictions, truths, len(class_names) - 1, [iou], 100, sizes)[0]
    ap = precision[0].mean(0)  # (K, sizes)
    means = [float(np.nanmean(a)) if np.isfinite(a).any() else np.nan for a in ap.T]
    return Detection(means[0], dict(zip(class_names[1:], ap[:, 0].tolist())),
                     dict(zip(sizes or {}, means[1:])))


def average_recall(predictions: Sequence[tuple[Tensor, Tensor]], truths: Sequence[Tensor],
                   limit: int = 100, ious: Sequence[float] = IOUS,
                   sizes: Sizes | None = None) -> Recall:
    """COCO's AR@``limit``: average recall of proposals, whatever their class.

    ``predictions``: per image regions and scores (k,); ``truths``: per image regions. The
    ``limit`` proposals of the highest score in each image count. At each IoU they are
    matched one to one with the objects, best score first; the share of objects that are
    matched is averaged over ``ious``. Raises ValueError as ``average_precision`` does.
    """
    found = [(regions, scores, torch.ones(len(regions))) for regions, scores in predictions]
    real = [(regions, torch.ones(len(regions))) for regions in truths]
    recall = _evaluate(found, real, 1, ious, limit, sizes)[1][:, 0]  # (IoUs, sizes)
    means = recall.mean(0).tolist()
    return Recall(means[0], {round(t, 2): r for t, r in zip(ious, recall[:, 0].tolist())},
                  dict(zip(sizes or {}, means[1:])))


def _evaluate(predictions: Sequence[tuple[Tensor, ...]], truths: Sequence[tuple[Tensor, ...]],
              classes: int, ious: Sequence[float], limit: int,
              sizes: Sizes | None) -> list[np.ndarray]:
    """Precision (IoUs, 101, K, 1 + sizes) and recall (IoUs, K, 1 + sizes), NaN: no object."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(f"expected as many predictions as truths and at least one, found "
                         f"{len(predictions)} predictions for {len(truths)} truths")
    if limit < 1 or not len(ious) or not 0 < min(ious) <= max(ious) <= 1:
        raise ValueError(f"expected a limit of at least 1 and IoUs in 0..1, "
                         f"found {limit} and {ious}")
    masks = truths[0][0].ndim == 3
    for n, (guess, truth) in enumerate(zip(predictions, truths)):
        shapes = [tuple(side[0].shape) for side in (guess, truth)]
        if shapes[0][1:] != shapes[1][1:] or {len(s) for s in shapes} != {3 if masks else 2}:
            raise ValueError(f"image {n}: expected predictions and truths as boxes (k, 4) or "
                             f"as masks (k, H, W) throughout, found {shapes[0]}, {shapes[1]}")
    ranges = {"all": (0.0, 1e5)} | dict(sizes or {})
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        both = []
        for side in (truths, predictions):
            items = [item for n, entry in enumerate(side)
                     for item in _items(n, classes, *entry)]
            both.append(COCO())
            both[-1].dataset = {
                "images": [{"id": n, "height": 0, "width": 0} for n in range(len(truths))],
                "categories": [{"id": c} for c in range(1, classes + 1)],
                "annotations": [item | {"id": k} for k, item in enumerate(items, 1)],
            }
            both[-1].createIndex()
        test = COCOeval(*both, "segm" if masks else "bbox")
        test.params.iouThrs, test.params.maxDets = np.array(ious), [limit]
        test.params.areaRng = [[low**2, high**2] for low, high in ranges.values()]
        test.params.areaRngLbl = list(ranges)
        test.evaluate()
        test.accumulate()
    values = [test.eval[name][..., -1] for name in ("precision", "recall")]
    return [np.where(v < 0, np.nan, v) for v in values]  # pycocotools: -1, no object


def _items(image: int, classes: int, regions: Tensor, *rest: Tensor) -> list[dict[str, Any]]:
    """One image's regions, scores (predictions alone) and labels as pycocotools' dicts."""
    from pycocotools import mask

    values, *numbers = (array(t) for t in (regions, *rest))
    labels, scores = numbers[-1], numbers[0]  # of a truth pycocotools reads no score
    if {len(n) for n in numbers} != {len(values)}:
        raise ValueError(f"image {image}: expected a score and a label for each of "
                         f"{len(values)} regions, found {[len(n) for n in numbers]}")
    if not ((labels >= 1) & (labels <= classes)).all() or not np.isfinite(scores).all():
        raise ValueError(f"image {image}: expected labels 1..{classes} and finite scores, "
                         f"found labels {np.unique(labels)} and scores {scores}")
    if values.ndim == 3:
        codes = mask.encode(np.asfortranarray(values.transpose(1, 2, 0) > 0, dtype=np.uint8))
        shapes = [{"segmentation": code, "area": float(mask.area(code))} for code in codes]
    elif values.shape[1] == 4 and (values[:, 2:] >= values[:, :2]).all():
        shapes = [{"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
                  for x1, y1, x2, y2 in values.tolist()]
    else:
        raise ValueError(f"image {image}: expected boxes (k, 4) with x1 <= x2 and y1 <= y2, "
                         f"found {values.shape}, first {values[:1]}")
    return [shape | {"image_id": image, "category_id": int(c), "score": float(s), "iscrowd": 0}
            for shape, c, s in zip(shapes, labels, scores)]
