"""Precision and recall of boxes and masks by hand and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from utils import metrics

BOXES = torch.tensor([[0.0, 0, 10, 10], [20, 20, 60, 60]])
TRUTH = [(BOXES, torch.tensor([1, 2])), (BOXES[:1] + 5, torch.tensor([1]))]
OBJECTS = [boxes for boxes, _ in TRUTH]
NAMES = ("background", "cell", "other", "never")


def painted(boxes: Tensor, size: int = 64) -> Tensor:
    """Boxes of whole pixels (k, 4) -> masks (k, size, size)."""
    masks = torch.zeros(len(boxes), size, size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long()):
        mask[y1:y2, x1:x2] = True
    return masks


def test_average_precision_of_perfect_boxes() -> None:
    found = [(b, torch.ones(len(b)), c) for b, c in TRUTH]
    score = metrics.average_precision(found, TRUTH, NAMES,
                                      sizes={"small": (0, 16), "large": (16, 99)})
    assert score.mean == pytest.approx(1) and score.by_class["cell"] == pytest.approx(1)
    assert np.isnan(score.by_class["never"])
    assert score.by_size == pytest.approx({"small": 1, "large": 1})


def test_average_precision_by_hand() -> None:
    """One of two cells found, above a false one: precision 1 up to recall 1/2."""
    found = [(torch.tensor([[0.0, 0, 10, 9], [30, 0, 40, 10]]), torch.tensor([0.9, 0.5]),
              torch.tensor([1, 1])), (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0))]
    score = metrics.average_precision(found, TRUTH, NAMES)
    assert score.by_class["cell"] == pytest.approx(51 / 101)
    assert score.by_class["other"] == 0
    swapped = [(found[0][0], found[0][1].flip(0), found[0][2]), found[1]]
    below = metrics.average_precision(swapped, TRUTH, NAMES)
    assert below.by_class["cell"] == pytest.approx(51 / 101 / 2)
    strict = metrics.average_precision(found, TRUTH, NAMES, iou=0.95)
    assert strict.mean == 0


def test_average_precision_without_detections_and_with_wrong_counts() -> None:
    nothing = (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0))
    assert metrics.average_precision([nothing] * 2, TRUTH, NAMES).mean == 0
    with pytest.raises(ValueError, match="1 predictions for 2"):
        metrics.average_precision([nothing], TRUTH, NAMES)


@pytest.mark.parametrize("label", [0, 4, -1])
def test_labels_out_of_range_are_refused(label: int) -> None:
    """0 is the background, 4 is beyond the names: COCO would drop both in silence."""
    wrong = [(BOXES, torch.tensor([1, label])), TRUTH[1]]
    found = [(b, torch.ones(len(b)), c) for b, c in TRUTH]
    with pytest.raises(ValueError, match=rf"image 0: expected labels 1\.\.3.*{label}"):
        metrics.average_precision(found, wrong, NAMES)
    found[0] = (BOXES, torch.ones(2), wrong[0][1])
    with pytest.raises(ValueError, match=rf"image 0: expected labels 1\.\.3.*{label}"):
        metrics.average_precision(found, TRUTH, NAMES)


@pytest.mark.parametrize(("entry", "says"), [
    ((BOXES, torch.ones(1)), r"each of 2 regions, found \[1, 2\]"),
    ((BOXES, torch.tensor([1.0, torch.nan])), "finite scores"),
    ((BOXES.flip(1), torch.ones(2)), "x1 <= x2"),
    ((BOXES * torch.nan, torch.ones(2)), "x1 <= x2"),
    ((BOXES[:, :3], torch.ones(2)), r"boxes \(k, 4\).*\(2, 3\), \(2, 4\)"),
    ((painted(BOXES), torch.ones(2)), r"throughout, found \(2, 64, 64\), \(2, 4\)"),
])
def test_regions_and_scores_that_do_not_fit_are_refused(entry: tuple[Tensor, Tensor],
                                                        says: str) -> None:
    with pytest.raises(ValueError, match=says):
        metrics.average_recall([entry, (OBJECTS[1], torch.ones(1))], OBJECTS)


def test_recall_refuses_limits_overlaps_and_sizes_that_do_not_fit() -> None:
    found = [(b, torch.ones(len(b))) for b in OBJECTS]
    with pytest.raises(ValueError, match="limit of at least 1.*found 0"):
        metrics.average_recall(found, OBJECTS, limit=0)
    for ious in ((), (50,), (0,)):
        with pytest.raises(ValueError, match=r"IoUs in 0\.\.1"):
            metrics.average_recall(found, OBJECTS, ious=ious)
    with pytest.raises(ValueError, match="2 predictions for 1"):
        metrics.average_recall(found, OBJECTS[:1])
    with pytest.raises(ValueError, match=r"\(2, 64, 64\), \(2, 32, 64\)"):
        metrics.average_recall([(painted(BOXES), torch.ones(2))], [painted(BOXES)[:, :32]])
    mixed = [BOXES, painted(BOXES)]
    with pytest.raises(ValueError, match="image 1: expected.*throughout"):
        metrics.average_recall([(regions, torch.ones(2)) for regions in mixed], mixed)


def test_average_recall_by_hand() -> None:
    """IoU 1, .72 and 0 with three objects: 2/3 up to .7, 1/3 above; by size alike."""
    found = [(torch.tensor([[0, 0, 10, 7.2], [20, 20, 60, 60]]), torch.tensor([0.1, 0.9])),
             (torch.zeros(0, 4), torch.zeros(0))]
    score = metrics.average_recall(found, OBJECTS, sizes={"small": (0, 16), "large": (16, 99),
                                                          "huge": (99, 999)})
    assert score.by_iou == pytest.approx({0.5 + k / 20: (2 if k < 5 else 1) / 3
                                          for k in range(10)})
    assert score.mean == pytest.approx(0.5)
    assert score.by_size["small"] == pytest.approx(0.25) and score.by_size["large"] == 1
    assert np.isnan(score.by_size["huge"])
    one = metrics.average_recall(found, OBJECTS, limit=1)  # the second score is cut off
    assert one.mean == pytest.approx(1 / 3)
    assert metrics.average_recall(found, OBJECTS, ious=[0.7]).mean == pytest.approx(2 / 3)
    nothing = [(torch.zeros(0, 4), torch.zeros(0))] * 2
    assert metrics.average_recall(nothing, OBJECTS).mean == 0
    assert np.isnan(metrics.average_recall(nothing, [torch.zeros(0, 4)] * 2).mean)


def greedy_recall(boxes: Tensor, scores: Tensor, objects: Tensor, threshold: float) -> int:
    """Objects matched: each box in the order of scores takes the best one left."""
    left, found = list(range(len(objects))), 0
    for k in scores.argsort(descending=True):
        corner = torch.minimum(boxes[k, 2:], objects[:, 2:]) - torch.maximum(
            boxes[k, :2], objects[:, :2])
        both = corner.clamp_min(0).prod(1)
        areas = (objects[:, 2:] - objects[:, :2]).prod(1)
        iou = both / (areas + (boxes[k, 2:] - boxes[k, :2]).prod() - both)
        best = max(left, key=lambda j: iou[j], default=None)
        if best is not None and iou[best] >= threshold:
            left.remove(best)
            found += 1
    return found


def test_average_recall_against_brute_force_and_of_masks() -> None:
    """Random boxes on whole pixels, of which the masks must give the same recall."""
    draw = torch.Generator().manual_seed(0)
    objects = [torch.randint(0, 40, (n, 4), generator=draw).double() for n in (4, 1, 3)]
    objects = [torch.cat([o[:, :2], o[:, :2] + 8 + o[:, 2:] / 4], 1).round() for o in objects]
    found = []
    for truth in objects:
        boxes = truth.repeat(6, 1)
        boxes[:, 2:] += torch.randint(-5, 6, boxes[:, 2:].shape, generator=draw)
        found.append((boxes, torch.rand(len(boxes), generator=draw)))
    score = metrics.average_recall(found, objects, ious=(0.53, 0.71, 0.87))
    for threshold, share in score.by_iou.items():
        hits = sum(greedy_recall(*f, o, threshold) for f, o in zip(found, objects))
        assert share == pytest.approx(hits / 8)
    assert 0 < score.by_iou[0.87] < score.by_iou[0.53]
    masks = metrics.average_recall([(painted(b), s) for b, s in found],
                                   [painted(o) for o in objects], ious=(0.53, 0.71, 0.87))
    assert masks == score
    nothing = [(torch.zeros(0, 64, 64), torch.zeros(0))] * 3
    assert metrics.average_recall(nothing, [painted(o) for o in objects]).mean == 0
