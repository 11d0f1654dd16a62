"""Masks against masks: labels, films, salient objects (``torchmetrics`` where it can)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torchmetrics.functional.classification import (multiclass_accuracy,
                                                    multiclass_jaccard_index)

from ._shared import array, check_shapes

Maps = Tensor | np.ndarray | Sequence[Any]
LEVELS = np.arange(1, 256, dtype=np.float32) / 255
"""The thresholds of salient object detection: those of an 8-bit map, above 0."""


def iou(prediction: Tensor, truth: Tensor, classes: int, ignore: int | None = None) -> Tensor:
    """Intersection over union per class, (classes,); NaN for a class never seen.

    ``prediction`` and ``truth`` are integer maps of equal shape with values below
    ``classes``; pixels of all images are counted together, without those whose truth is
    ``ignore`` (a set's void label, say 255). Raises ValueError for other labels.
    """
    prediction, truth = _labels(prediction, truth, classes, ignore)
    return multiclass_jaccard_index(prediction, truth, classes, average="none",
                                    zero_division=float("nan"))


def mean_iou(prediction: Tensor, truth: Tensor, classes: int,
             ignore: int | None = None) -> float:
    """Mean of ``iou`` over the classes that occur in prediction or truth."""
    return float(iou(prediction, truth, classes, ignore).nanmean())


def dice(prediction: Tensor, truth: Tensor, classes: int, ignore: int | None = None) -> Tensor:
    """Dice coefficient 2 |P and T| / (|P| + |T|) per class, (classes,).

    Arguments, NaN and errors as in ``iou`` J, of which it is the function 2 J / (1 + J).
    For one region of several classes give masks: ``dice(a > 0, b > 0, 2)[1]``.
    """
    j = iou(prediction, truth, classes, ignore)
    return 2 * j / (1 + j)


def accuracy(prediction: Tensor, truth: Tensor, ignore: int | None = None) -> float:
    """Share of correct labels; predicted: labels (N, ...) or logits (N, C, ...).

    Places whose truth is ``ignore`` are left out; none to score is a ValueError.
    """
    labels = prediction.argmax(1) if prediction.ndim > truth.ndim else prediction
    labels, truth = _labels(labels, truth, None, ignore)
    if not len(truth):
        raise ValueError("expected at least one label to score, found none")
    classes = max(2, int(labels.max()) + 1, int(truth.max()) + 1)
    return float(multiclass_accuracy(labels, truth, classes, average="micro"))


def _labels(prediction: Tensor, truth: Tensor, classes: int | None,
            ignore: int | None) -> tuple[Tensor, Tensor]:
    """Both, checked, without what is to be ignored."""
    check_shapes("", prediction=prediction, truth=truth)
    if ignore is not None:
        kept = truth != ignore
        prediction, truth = prediction[kept], truth[kept]
    for name, labels in (("prediction", prediction), ("truth", truth)):
        if labels.is_floating_point():
            raise ValueError(f"expected whole labels as {name}, found {labels.dtype}")
        low, high = (int(labels.min()), int(labels.max())) if labels.numel() else (0, 0)
        if low < 0 or classes is not None and high >= classes:
            most = "" if classes is None else f" to {classes - 1}"
            raise ValueError(f"expected labels from 0{most} in the {name}, found {low} to "
                             f"{high}; name a label to leave out by ignore, now {ignore}")
    return prediction, truth


def near_border(labels: Tensor, radius: float) -> Tensor:
    """Pixels with another label at most ``radius`` pixels away: bool, like ``labels``.

    ``labels`` is (N, H, W), integers or bools, ``radius`` a Euclidean distance of at least
    1; at 1 a straight border gives the two pixels that face each other. The frame of a
    picture is no border. Raises ValueError for other shapes or distances.
    """
    if labels.ndim != 3 or labels.is_floating_point():
        raise ValueError(f"expected integer labels (N, H, W), got {labels.dtype} "
                         f"{tuple(labels.shape)}")
    if radius < 1:
        raise ValueError(f"radius must be at least 1 pixel, not {radius}")
    height, width = labels.shape[-2:]
    reach = int(radius)
    padded = F.pad(labels[:, None].float(), (reach,) * 4, mode="replicate")[:, 0]
    near = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            if 0 < y * y + x * x <= radius**2:
                moved = padded[:, reach + y:reach + y + height, reach + x:reach + x + width]
                near |= moved != labels
    return near


def region_j(prediction: Tensor, truth: Tensor) -> Tensor:
    """DAVIS' region similarity J, the IoU of each frame's mask: (T, H, W) -> (T,).

    A frame in which both masks are empty counts as 1. Raises ValueError for other shapes.
    """
    check_shapes("(T, H, W)", prediction=prediction, truth=truth)
    a, b = prediction.bool().flatten(1), truth.bool().flatten(1)
    union = (a | b).sum(1)
    return torch.where(union > 0, (a & b).sum(1) / union.clamp_min(1), 1.0)


def contour_f(prediction: Tensor, truth: Tensor, tolerance: float | None = None) -> Tensor:
    """DAVIS' contour accuracy F of each frame: masks (T, H, W) -> (T,).

    A contour pixel is right if the other contour is at most ``tolerance`` pixels away
    (None, as DAVIS: 0.008 of the diagonal, rounded up). One empty contour gives 0, two
    give 1. Raises ValueError for other shapes and for a tolerance below 0.
    """
    check_shapes("(T, H, W)", prediction=prediction, truth=truth)
    a, b = (_contour(array(m) > 0) for m in (prediction, truth))
    reach = np.ceil(0.008 * np.hypot(*a.shape[1:])) if tolerance is None else tolerance
    if reach < 0:
        raise ValueError(f"expected a tolerance of at least 0 pixels, found {tolerance}")
    scores = []
    for one, two in zip(a, b):
        if not one.any() or not two.any():
            scores.append(float(one.any() == two.any()))
            continue
        precision = (distance_transform_edt(~two)[one] <= reach).mean()
        recall = (distance_transform_edt(~one)[two] <= reach).mean()
        scores.append(2 * precision * recall / max(precision + recall, 1e-12))
    return torch.tensor(scores, dtype=torch.float32)


def _contour(masks: np.ndarray) -> np.ndarray:
    """Pixels that differ from the right, the lower or the lower right neighbour."""
    edge = np.pad(masks, ((0, 0), (0, 1), (0, 1)), mode="edge")
    here = edge[:, :-1, :-1]
    return (here ^ edge[:, :-1, 1:]) | (here ^ edge[:, 1:, :-1]) | (here ^ edge[:, 1:, 1:])


@dataclass(frozen=True)
class SaliencyCurve:
    """Precision, recall and F over T thresholds; the best F, reached at ``threshold``."""

    thresholds: np.ndarray  # (T,) increasing
    precision: np.ndarray  # (T,) mean over images
    recall: np.ndarray  # (T,) mean over images
    f: np.ndarray  # (T,)
    maximum: float
    threshold: float


def saliency_f(saliency: Maps, masks: Maps) -> SaliencyCurve:
    """Maximum F of salient object detection (Achanta et al., CVPR 2009; DSS, CVPR 2017).

    ``saliency``: N maps of probabilities, ``masks``: N maps of 0 and 1, each with an
    object; as arrays (N, H, W) or (N, 1, H, W), or as lists when sizes differ. At each of
    the 255 ``LEVELS`` a map is binarised (value >= level); precision (0 where nothing is
    marked) and recall are averaged over images, and then
    F = 1.3 P R / (0.3 P + R), that is beta^2 = 0.3. Raises ValueError for other input.
    """
    rates = []
    for soft, mask in _salient(saliency, masks):
        if not mask.any():
            raise ValueError(f"expected an object in each mask, found none in {len(rates)}")
        passed = np.searchsorted(LEVELS, soft, side="right")  # how many levels, per pixel
        marked, right = (np.bincount(p, minlength=256)[::-1].cumsum()[-2::-1]
                         for p in (passed, passed[mask]))
        rates.append((right / np.maximum(marked, 1), right / mask.sum()))
    precision, recall = np.mean(rates, axis=0)
    f = 1.3 * precision * recall / np.maximum(0.3 * precision + recall, 1e-12)
    best = int(f.argmax())
    return SaliencyCurve(LEVELS, precision, recall, f, float(f[best]), float(LEVELS[best]))


def mae(saliency: Maps, masks: Maps) -> float:
    """Mean absolute error of saliency maps, in 0..1: over pixels, then over images.

    Arguments and errors as in ``saliency_f``; a mask may be empty here.
    """
    errors = [np.abs(soft - mask) for soft, mask in _salient(saliency, masks)]
    return float(np.mean([e.mean(dtype=float) for e in errors]))


def _salient(saliency: Maps, masks: Maps) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Checked maps one by one, as flat float32 and bool."""
    if len(saliency) != len(masks) or not len(masks):
        raise ValueError(f"expected as many masks as maps and at least one, "
                         f"found {len(saliency)} maps and {len(masks)} masks")
    for n, (soft, mask) in enumerate(zip(saliency, masks)):
        soft, mask = array(soft), array(mask)
        check_shapes("", saliency=soft, mask=mask)
        if not (soft.min() >= 0 and soft.max() <= 1):
            raise ValueError(f"expected probabilities in 0..1, found {soft.min():.3g} to "
                             f"{soft.max():.3g} in image {n}: apply a sigmoid first")
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(f"expected masks of 0 and 1, found {np.unique(mask)[:9]} "
                             f"in image {n}")
        yield soft.astype(np.float32).ravel(), mask.astype(bool).ravel()
