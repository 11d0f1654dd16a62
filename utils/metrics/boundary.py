"""The boundary benchmark behind every number in the edge papers (Berkeley, BSDS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage.morphology import skeletonize
from torch import Tensor

from ._shared import array

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
        raise ValueError(f"expected thresholds, increasing and not empty, found {thresholds}")
    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(
            f"expected as many truths as predictions and at least one, "
            f"found {len(predictions)} predictions and {len(truths)} truths"
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
    soft, marks = array(prediction).astype(float), array(truth) > 0
    marks = marks[None] if marks.ndim == 2 else marks
    if soft.ndim != 2 or marks.ndim != 3 or marks.shape[1:] != soft.shape:
        raise ValueError(
            f"expected a prediction (H, W) and a truth (H, W) or (K, H, W), "
            f"found {soft.shape} and {array(truth).shape}"
        )
    if not (soft.min(initial=0) >= 0 and soft.max(initial=0) <= 1):
        raise ValueError(f"expected probabilities in 0..1, found {soft.min():.3g} to "
                         f"{soft.max():.3g}: apply a sigmoid first")
    if tolerance < 0:
        raise ValueError(f"expected a tolerance of at least 0 pixels, found {tolerance}")
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
    values = array(maps).astype(float)
    if values.ndim != 3:
        raise ValueError(f"expected maps (N, H, W), found {values.shape}")
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
