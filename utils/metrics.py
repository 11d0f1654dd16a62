"""What the chapters measure, and exactly how.

``torchmetrics`` computes whatever it has (intersection over union, accuracy). What it
lacks is here: the boundary benchmark behind every number in the edge papers, DAVIS' two
measures for masks, the errors of matting, detection's average precision (by
``pycocotools``), and what a network costs.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage.morphology import skeletonize
from torch import Tensor, nn
from torchmetrics.functional.classification import (multiclass_accuracy,
                                                    multiclass_jaccard_index)

THRESHOLDS = tuple(np.linspace(0.0, 1.0, 32)[1:-1].tolist())
"""Thirty thresholds strictly between 0 and 1 (the Berkeley benchmark takes 99)."""


@dataclass(frozen=True)
class BoundaryCurve:
    """A precision-recall curve over T thresholds and its summaries, all in 0..1.

    ``ods`` is the best F with one threshold for the whole data set, reached at
    ``ods_threshold``; ``ois`` the F when each image takes its own best threshold;
    ``ap`` the area under the curve by Berkeley's rule, which gives nothing for
    recalls below those reached; ``area`` the same with the precision of the lowest
    recall reached held down to recall 0, so that a confident map loses nothing.
    """

    thresholds: np.ndarray  # (T,) increasing
    precision: np.ndarray  # (T,)
    recall: np.ndarray  # (T,)
    f: np.ndarray  # (T,)
    ods: float
    ods_threshold: float
    ois: float
    ap: float
    area: float


def boundary_pr(predictions: Tensor | np.ndarray | Sequence[Any],
                truths: Tensor | np.ndarray | Sequence[Any],
                thresholds: Sequence[float] = THRESHOLDS, tolerance: float = 1.0,
                thin: bool = True) -> BoundaryCurve:
    """Score boundary maps as the Berkeley segmentation benchmark does.

    ``predictions``: N maps (H, W) of probabilities, as one array (N, H, W) or as a
    list when sizes differ. ``truths``: per image one map (H, W) or K annotators
    (K, H, W), non-zero on a boundary. ``tolerance`` is a distance in pixels (Berkeley:
    0.0075 of the image diagonal, 4.3 pixels on a 481 x 321 photograph).

    At each threshold the map is binarised (value >= threshold), thinned, and its
    pixels are matched one to one with those of each annotator. Precision is the share
    of predicted pixels that *any* annotator matches; recall the share of all
    annotators' pixels that are matched. Counts are summed over images before dividing;
    0/0 counts as 0. OIS takes each image at its own best threshold (of equal ones the
    highest) and computes F once from the summed counts. AP interpolates precision
    linearly at recalls 0, 0.01 ... 1 and takes 0 outside the recalls reached, so that a
    map of zeros and ones has AP 0 however good it is; ``area`` repairs that.

    Differences from the Berkeley code (``correspondPixels``, ``boundaryBench``):

    * Matching has the most pairs possible; Berkeley's minimises the summed distance, a
      miss costing 100 times ``tolerance``. The number of pairs agrees except in
      contrived layouts; with several annotators precision may differ by a few pixels.
    * Thinning: Zhang-Suen skeletons (Berkeley: Matlab's ``bwmorph``, Guo-Hall), of the
      truth as well, so that a perfect prediction scores 1. Papers such as HED first
      suppress non-maxima of the soft map: `suppress_non_maxima`.
    * 30 thresholds, not 99, and no interpolation of F between them.
    * AP leaves out thresholds that another one beats in both precision and recall, and
      divides the sum of 101 values by 101 (Berkeley: 100).

    Raises ValueError when numbers, shapes or ranges do not fit.
    """
    levels = np.asarray(thresholds, dtype=float)
    if levels.ndim != 1 or not levels.size or (np.diff(levels) <= 0).any():
        raise ValueError("thresholds must be a non-empty, increasing sequence")
    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(
            f"expected as many truths as predictions and at least one, "
            f"got {len(predictions)} predictions and {len(truths)} truths"
        )
    counts = np.stack([boundary_counts(*pair, levels, tolerance, thin)
                       for pair in zip(predictions, truths, strict=True)])  # (N, T, 4)
    precision, recall, f = _precision_recall_f(counts.sum(axis=0))
    best = int(f.argmax())
    return BoundaryCurve(
        levels, precision, recall, f, ods=float(f[best]), ods_threshold=float(levels[best]),
        ois=_optimal_image_scale(counts), ap=_area(recall, precision, fill=False),
        area=_area(recall, precision, fill=True))


def boundary_counts(prediction: Tensor | np.ndarray, truth: Tensor | np.ndarray,
                    thresholds: Sequence[float] | np.ndarray = THRESHOLDS,
                    tolerance: float = 1.0, thin: bool = True) -> np.ndarray:
    """Counts of one image, (T, 4) int64: the raw material of ``boundary_pr``.

    Columns: predicted pixels that are matched, predicted pixels, annotated pixels
    that are matched, annotated pixels (the last two summed over annotators).
    """
    soft, marks = _array(prediction).astype(float), _array(truth) > 0
    marks = marks[None] if marks.ndim == 2 else marks
    if soft.ndim != 2 or marks.ndim != 3 or marks.shape[1:] != soft.shape:
        raise ValueError(
            f"expected a prediction (H, W) and a truth (H, W) or (K, H, W), "
            f"got {soft.shape} and {_array(truth).shape}"
        )
    if not (soft.min(initial=0) >= 0 and soft.max(initial=0) <= 1):
        raise ValueError("predictions must be probabilities; apply a sigmoid first")
    if tolerance < 0:
        raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")
    if thin:
        marks = np.stack([skeletonize(m) for m in marks]) if len(marks) else marks
    offsets = _offsets(tolerance)
    indices = [_index_map(m, int(tolerance)) for m in marks]
    counts = np.zeros((len(thresholds), 4), dtype=np.int64)
    counts[:, 3] = marks.sum()
    size = -1
    for t, threshold in enumerate(thresholds):
        edge = soft >= threshold
        if edge.sum() == size:  # nothing fell out: the same map as one step before
            counts[t] = counts[t - 1]
            continue
        size = int(edge.sum())
        rows, columns = np.nonzero(skeletonize(edge) if thin else edge)
        found = np.zeros(len(rows), dtype=bool)
        for index in indices:
            matched = _match(rows, columns, index, offsets)
            counts[t, 2] += matched.sum()
            found |= matched
        counts[t, :2] = found.sum(), len(rows)
    return counts


def suppress_non_maxima(maps: Tensor | np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Thin soft edge maps (N, H, W) to their ridges; other pixels become 0.

    A pixel stays if the map, smoothed by a Gaussian of ``sigma`` pixels, is nowhere
    larger one pixel to either side across the ridge. The direction across is that of
    the most negative curvature (eigenvector of the Hessian). HED and its followers do
    this before they score, so that a lower threshold adds lines and never melts them.
    """
    values = _array(maps).astype(float)
    if values.ndim != 3:
        raise ValueError(f"expected maps (N, H, W), got {values.shape}")
    smooth = gaussian_filter(values, sigma, axes=(1, 2))
    down, right = np.gradient(smooth, axis=(1, 2))
    yy, xy = np.gradient(down, axis=(1, 2))
    xx = np.gradient(right, axis=2)
    across = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    dy, dx = np.sin(across), np.cos(across)
    n, rows, columns = np.indices(values.shape)
    sides = [map_coordinates(smooth, [n, rows + s * dy, columns + s * dx], order=1,
                             mode="nearest") for s in (1, -1)]
    bent = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy) < -1e-6  # a crest, not a flank
    return np.where(bent & (smooth >= sides[0]) & (smooth >= sides[1]), values, 0.0)


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def _offsets(tolerance: float) -> np.ndarray:
    """All (dy, dx) within ``tolerance``, nearest first, shifted to be >= 0: (M, 2)."""
    reach = int(tolerance)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    square = dy**2 + dx**2
    near = np.argsort(square, kind="stable")[: (square <= tolerance**2).sum()]
    return np.stack([dy, dx], axis=1)[near] + reach


def _index_map(mask: np.ndarray, margin: int) -> np.ndarray:
    """(H, W) bool -> (H + 2 margin, W + 2 margin): number of each pixel, else -1."""
    index = np.full(mask.shape, -1, dtype=np.int32)
    index[mask] = np.arange(mask.sum(), dtype=np.int32)
    return np.pad(index, margin, constant_values=-1)


def _match(rows: np.ndarray, columns: np.ndarray, index: np.ndarray,
           offsets: np.ndarray) -> np.ndarray:
    """Which of P predicted pixels a largest one-to-one matching covers: (P,) bool."""
    near = index[rows[:, None] + offsets[:, 0], columns[:, None] + offsets[:, 1]]
    real = near >= 0  # (P, M)
    if not real.any():
        return np.zeros(len(rows), dtype=bool)
    ends = np.concatenate([[0], real.sum(axis=1).cumsum()]).astype(np.int32)
    neighbours = near[real]
    graph = csr_array((np.ones(len(neighbours), dtype=np.int8), neighbours, ends),
                      shape=(len(rows), int(index.max()) + 1))
    return maximum_bipartite_matching(graph, perm_type="column") >= 0


def _precision_recall_f(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (..., 4) -> precision, recall and F, each (...)."""
    matched_p, all_p, matched_t, all_t = np.moveaxis(counts.astype(float), -1, 0)
    precision = matched_p / np.maximum(all_p, 1)
    recall = matched_t / np.maximum(all_t, 1)
    total = precision + recall
    f = 2 * precision * recall / np.where(total > 0, total, 1)
    return precision, recall, f


def _optimal_image_scale(counts: np.ndarray) -> float:
    """Counts (N, T, 4) -> F after each image has chosen its own threshold."""
    f = _precision_recall_f(counts)[2]  # (N, T)
    best = f.shape[1] - 1 - f[:, ::-1].argmax(axis=1)
    chosen = counts[np.arange(len(counts)), best].sum(axis=0)
    return float(_precision_recall_f(chosen)[2])


def _area(recall: np.ndarray, precision: np.ndarray, fill: bool) -> float:
    """Area under the undominated part of a precision-recall curve.

    ``fill`` holds the first precision down to recall 0; without it, Berkeley's 0.
    """
    order = np.lexsort((-precision, -recall))  # recall falls; ties: best first
    r, p = recall[order], precision[order]
    front = p > np.concatenate([[-1.0], np.maximum.accumulate(p)[:-1]])
    r, p = r[front][::-1], p[front][::-1]  # recall rises, precision falls
    if fill:
        r, p = np.concatenate([[0.0], r]), np.concatenate([p[:1], p])
    elif len(r) < 2:
        return 0.0
    return float(np.interp(np.linspace(0, 1, 101), r, p, left=0, right=0).mean())


def iou(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Intersection over union per class, (classes,); NaN for a class never seen.

    ``prediction`` and ``truth`` are integer maps of equal shape with values below
    ``classes``; pixels of all images are counted together.
    """
    return multiclass_jaccard_index(prediction, truth, classes, average="none",
                                    zero_division=float("nan"))


def mean_iou(prediction: Tensor, truth: Tensor, classes: int) -> float:
    """Mean of ``iou`` over the classes that occur in prediction or truth."""
    return float(iou(prediction, truth, classes).nanmean())


def accuracy(prediction: Tensor, truth: Tensor) -> float:
    """Share of correct labels; predicted: labels (N, ...) or logits (N, C, ...)."""
    labels = prediction.argmax(1) if prediction.ndim > truth.ndim else prediction
    classes = max(2, int(labels.max()) + 1, int(truth.max()) + 1)
    return float(multiclass_accuracy(labels, truth, classes, average="micro"))


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters, shared ones counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@torch.no_grad()
def multiply_adds(model: nn.Module, *input_shape: int) -> int:
    """Multiply-adds of convolutions and linear layers for ONE input, biases left out.

    ``input_shape`` has no batch axis: ``multiply_adds(net, 3, 224, 224)``. Works on
    torch's meta device, where it costs neither memory nor time.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        if isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features
        elif layer.transposed:  # each input value meets weight (in, out, k, k) once
            total += inputs[0].numel() * weight[0].numel()
        else:  # each output value sums over weight (out, in, k, k)
            total += output.numel() * weight[0].numel()

    layers = (nn.Linear, nn.modules.conv._ConvNd)
    hooks = [m.register_forward_hook(count) for m in model.modules()
             if isinstance(m, layers)]
    training = model.training
    first = next(model.parameters(), torch.zeros(()))
    try:
        model.eval()
        model(torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return total


@torch.no_grad()
def latency(model: nn.Module, *input_shape: int, batch: int = 1,
            repeats: int = 30) -> float:
    """Median seconds of one forward pass of ``batch`` inputs, in evaluation mode.

    ``input_shape`` has no batch axis. Five passes are made before the clock starts, and
    a GPU has finished before it stops. Runs with as many threads as torch has now.
    """
    if batch < 1 or repeats < 1:
        raise ValueError(f"batch and repeats must be at least 1: {batch}, {repeats}")
    weights = next(model.parameters())
    images = torch.rand(batch, *input_shape, device=weights.device, dtype=weights.dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    training, seconds = model.training, []
    model.eval()
    for number in range(repeats + 5):
        start = time.perf_counter()
        model(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        if number >= 5:
            seconds.append(time.perf_counter() - start)
    model.train(training)
    return statistics.median(seconds)


@dataclass(frozen=True)
class Detection:
    """COCO's average precision at one IoU; NaN where there is no object to find."""

    mean: float  # over the classes that occur
    by_class: dict[str, float]
    by_size: dict[str, float]  # each the mean over classes


def average_precision(predictions: Sequence[tuple[Tensor, Tensor, Tensor]],
                      truths: Sequence[tuple[Tensor, Tensor]],
                      class_names: Sequence[str], iou: float = 0.5,
                      sizes: Mapping[str, tuple[float, float]] | None = None) -> Detection:
    """Average precision of detections as COCO computes it (``pycocotools``).

    ``predictions``: per image boxes (k, 4), scores (k,) and labels (k,);  ``truths``: per
    image boxes and labels. Boxes are x1 y1 x2 y2, labels 1..K into ``class_names``, whose
    entry 0 is the background. ``sizes``: a name -> range of the square root of a box's
    area, in pixels; objects outside it are ignored, not counted as missed. Precision is
    interpolated at 101 recalls; at most 100 detections an image count.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(f"{len(predictions)} predictions for {len(truths)} truths")
    coco, found = COCO(), []
    objects = [
        {"image_id": n, "category_id": int(c), "bbox": _xywh(box), "iscrowd": 0,
         "area": float((box[2] - box[0]) * (box[3] - box[1]))}
        for n, (boxes, labels) in enumerate(truths) for box, c in zip(boxes, labels)
    ]
    coco.dataset = {
        "info": {}, "images": [{"id": n} for n in range(len(truths))],
        "categories": [{"id": c} for c in range(1, len(class_names))],
        "annotations": [o | {"id": k} for k, o in enumerate(objects, 1)],
    }
    for n, (boxes, scores, labels) in enumerate(predictions):
        found += [{"image_id": n, "category_id": int(c), "bbox": _xywh(box),
                   "score": float(s)} for box, s, c in zip(boxes, scores, labels)]
    ranges = {"all": (0.0, 1e5)} | dict(sizes or {})
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        coco.createIndex()
        # without a detection COCO has nothing to load: one of score 0 that fits nothing
        none = [{"image_id": 0, "category_id": 1, "bbox": [-9, -9, 1, 1], "score": 0.0}]
        test = COCOeval(coco, coco.loadRes(found or none), "bbox")
        test.params.iouThrs = np.array([iou])
        test.params.areaRng = [[low**2, high**2] for low, high in ranges.values()]
        test.params.areaRngLbl = list(ranges)
        test.evaluate()
        test.accumulate()
    ap = test.eval["precision"][0, :, :, :, -1].mean(0)  # (K, sizes); -1: no object
    ap = np.where(ap < 0, np.nan, ap)
    means = [float(np.nanmean(a)) if np.isfinite(a).any() else np.nan for a in ap.T]
    return Detection(means[0], dict(zip(class_names[1:], ap[:, 0].tolist())),
                     dict(zip(list(ranges)[1:], means[1:])))


def _xywh(box: Tensor) -> list[float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return [x1, y1, x2 - x1, y2 - y1]


def region_j(prediction: Tensor, truth: Tensor) -> Tensor:
    """DAVIS' region similarity J, the IoU of each frame's mask: (T, H, W) -> (T,).

    A frame in which both masks are empty counts as 1.
    """
    a, b = prediction.bool().flatten(1), truth.bool().flatten(1)
    union = (a | b).sum(1)
    return torch.where(union > 0, (a & b).sum(1) / union.clamp_min(1), 1.0)


def contour_f(prediction: Tensor, truth: Tensor, tolerance: float | None = None) -> Tensor:
    """DAVIS' contour accuracy F of each frame: masks (T, H, W) -> (T,).

    A contour pixel is right if the other contour is at most ``tolerance`` pixels away
    (default, as DAVIS: 0.008 of the diagonal, rounded up). One empty contour gives 0,
    two give 1.
    """
    a, b = (_contour(_array(m) > 0) for m in (prediction, truth))
    reach = tolerance or float(np.ceil(0.008 * np.hypot(*a.shape[1:])))
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


def matting_errors(prediction: Tensor, alpha: Tensor, trimap: Tensor) -> dict[str, Tensor]:
    """Errors of mattes (N, 1, H, W) where the trimap is unknown (0.5), each (N,).

    "sad": sum of absolute differences / 1000; "mse": mean squared difference; "gradient":
    sum of squared differences of the gradient magnitudes (derivatives of a Gaussian of
    1.4 pixels) / 1000, after Rhemann et al. (CVPR 2009).
    """
    guess, true, band = (_array(t)[:, 0].astype(float) for t in (prediction, alpha, trimap))
    band = band == 0.5
    slopes = [np.hypot(*(gaussian_filter(m, 1.4, order=order, axes=(1, 2))
                         for order in ((0, 1), (1, 0)))) for m in (guess, true)]
    error, edges = (guess - true) * band, (slopes[0] - slopes[1]) * band
    size = np.maximum(band.sum((1, 2)), 1)
    errors = {"sad": np.abs(error).sum((1, 2)) / 1000,
              "mse": (error**2).sum((1, 2)) / size,
              "gradient": (edges**2).sum((1, 2)) / 1000}
    return {name: torch.from_numpy(values) for name, values in errors.items()}
