"""Masks and mattes against cases counted by hand and against torchmetrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional import mean_absolute_error
from torchmetrics.functional.classification import binary_precision_recall_curve
from torchmetrics.functional.segmentation import dice_score

from utils import metrics

TRUTH = torch.tensor([[0, 0, 1, 1]])
GUESS = torch.tensor([[0, 1, 1, 1]])


def square(left: int, size: int = 10) -> torch.Tensor:
    mask = torch.zeros(1, 40, 40)
    mask[:, 10 : 10 + size, left : left + size] = 1
    return mask


def test_iou_and_accuracy_by_hand() -> None:
    ious = metrics.iou(GUESS, TRUTH, classes=3)
    assert ious[:2].tolist() == pytest.approx([1 / 2, 2 / 3])
    assert ious[2].isnan()
    assert metrics.mean_iou(GUESS, TRUTH, classes=3) == pytest.approx(7 / 12)
    assert metrics.accuracy(GUESS, TRUTH) == 0.75
    logits = nn.functional.one_hot(GUESS, 2).movedim(-1, 1).float()  # (1, 2, 4)
    assert metrics.accuracy(logits, TRUTH) == 0.75
    assert metrics.accuracy(torch.zeros(3, dtype=int), torch.zeros(3, dtype=int)) == 1


def test_ignored_places_do_not_count() -> None:
    void = torch.tensor([[0, 255, 1, 1]])  # the wrong one is not asked for
    assert metrics.iou(GUESS, void, 2, ignore=255).tolist() == [1, 1]
    assert metrics.mean_iou(GUESS, void, 2, ignore=255) == 1
    assert metrics.dice(GUESS, void, 2, ignore=255).tolist() == [1, 1]
    assert metrics.accuracy(GUESS, void, ignore=255) == 1
    one = metrics.iou(GUESS, TRUTH, 2, ignore=0)  # a class can be ignored as well
    assert one[1] == 1 and one[0].isnan()
    assert metrics.iou(GUESS, torch.full_like(GUESS, 9), 2, ignore=9).isnan().all()


def test_labels_out_of_range_say_which_and_name_ignore() -> None:
    void = torch.tensor([[0, 255, 1, 1]])
    for metric in (metrics.iou, metrics.mean_iou, metrics.dice):
        with pytest.raises(ValueError, match="0 to 1 in the truth, found 0 to 255.*ignore"):
            metric(GUESS, void, 2)
        with pytest.raises(ValueError, match="0 to 1 in the prediction, found 0 to 255"):
            metric(void, TRUTH, 2)
    with pytest.raises(ValueError, match="from 0 in the truth, found -1 to 0"):
        metrics.accuracy(GUESS, TRUTH - 1)
    with pytest.raises(ValueError, match=r"one shape.*\(1, 4\).*\(4,\)"):
        metrics.iou(GUESS, TRUTH[0], 2)
    with pytest.raises(ValueError, match="whole labels as prediction, found torch.float32"):
        metrics.iou(GUESS.float(), TRUTH, 2)
    with pytest.raises(ValueError, match="at least one"):
        metrics.accuracy(GUESS, torch.full_like(GUESS, 9), ignore=9)


def test_dice_by_hand_and_as_torchmetrics() -> None:
    scores = metrics.dice(GUESS, TRUTH, classes=3)
    assert scores[:2].tolist() == pytest.approx([2 / 3, 4 / 5]) and scores[2].isnan()
    draw = torch.Generator().manual_seed(0)
    guess, truth = torch.randint(4, (2, 3, 12, 12), generator=draw)
    theirs = dice_score(guess, truth, 4, average="none", input_format="index",
                        aggregation_level="global")[0]
    assert metrics.dice(guess, truth, 4).tolist() == pytest.approx(theirs.tolist())
    whole = metrics.dice(guess > 1, truth > 1, 2)[1]  # a region of several classes
    both = ((guess > 1) & (truth > 1)).sum()
    assert whole == pytest.approx(2 * both / ((guess > 1).sum() + (truth > 1).sum()))


@pytest.mark.parametrize("radius, wide", [(1, 2), (2, 4), (2.9, 4), (3, 6)])
def test_border_band_is_twice_the_radius_wide(radius: float, wide: int) -> None:
    labels = (torch.arange(20) >= 10).long().expand(2, 9, 20)
    near = metrics.near_border(labels, radius)
    assert near.shape == labels.shape and (near.sum(-1) == wide).all()
    assert not metrics.near_border(torch.ones_like(labels), radius).any()  # nor the frame


def test_border_band_is_a_euclidean_distance() -> None:
    labels = torch.zeros(1, 15, 15, dtype=torch.long)
    labels[0, 3, 9] = 7
    y, x = torch.meshgrid(torch.arange(15), torch.arange(15), indexing="ij")
    away = torch.hypot(y - 3.0, x - 9.0)
    for radius in (1, 2, 3.5):
        near = metrics.near_border(labels, radius)[0]
        assert torch.equal(near, away <= radius)  # the pixel itself: the rest is other


def test_border_band_refuses_other_maps_and_distances() -> None:
    with pytest.raises(ValueError, match="integer labels"):
        metrics.near_border(torch.rand(2, 3, 4), 2)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        metrics.near_border(torch.zeros(1, 3, 4, dtype=torch.long), 0.5)


def test_region_j_by_hand() -> None:
    assert metrics.region_j(square(10), square(15)).item() == pytest.approx(50 / 150)
    nothing = torch.zeros(1, 40, 40)
    assert metrics.region_j(nothing, nothing).item() == 1
    assert metrics.region_j(nothing, square(3)).item() == 0


def test_contour_f_by_hand() -> None:
    """The contour of a 10 x 10 square has 40 pixels: 10 a side, none twice."""
    assert metrics.masks._contour(square(10).numpy() > 0).sum() == 40
    assert metrics.contour_f(square(10), square(10)).item() == 1
    assert metrics.contour_f(square(10), square(11), tolerance=1).item() == 1
    half = metrics.contour_f(square(10), square(15), tolerance=1).item()
    assert 0.4 < half < 0.8  # the upper and lower sides still meet
    assert metrics.contour_f(square(10), square(25), tolerance=1).item() == 0
    nothing = torch.zeros(1, 40, 40)
    assert metrics.contour_f(nothing, square(10)).item() == 0
    assert metrics.contour_f(nothing, nothing).item() == 1


def test_contour_tolerance_nought_is_not_the_default() -> None:
    """One pixel aside: all right within DAVIS' pixel, only shared pixels without it."""
    one, aside = square(10), square(11)
    assert metrics.contour_f(one, aside).item() == 1  # 0.008 of 57 pixels, rounded up: 1
    exact = metrics.contour_f(one, aside, tolerance=0).item()
    shared = np.logical_and(*(metrics.masks._contour(m.numpy() > 0) for m in (one, aside)))
    assert exact == pytest.approx(shared.sum() / 40) and 0 < exact < 1
    with pytest.raises(ValueError, match="at least 0 pixels, found -1"):
        metrics.contour_f(one, aside, tolerance=-1)


@pytest.mark.parametrize("measure", [metrics.region_j, metrics.contour_f])
def test_films_of_unequal_length_or_size_are_refused(measure: Callable) -> None:
    film = square(10).repeat(3, 1, 1)
    for other in (film[:2], film[:1], film[:, :30], film[0]):
        with pytest.raises(ValueError, match=r"\(T, H, W\), found prediction \(3, 40, 40\)"):
            measure(film, other)
    with pytest.raises(ValueError, match=r"\(T, H, W\)"):
        measure(film[0], film[0])


def test_saliency_f_by_hand() -> None:
    """Two images; P and R are averaged first, so image 2's misses do not multiply."""
    maps = torch.tensor([[[0.9, 0.9, 0.1, 0.1]], [[0.9, 0.2, 0.2, 0.2]]])
    masks = torch.tensor([[[1, 1, 0, 0]], [[1, 1, 0, 0]]])
    curve = metrics.saliency_f(maps, masks)
    assert len(curve.thresholds) == 255 and curve.thresholds[[0, -1]].tolist() == [
        pytest.approx(1 / 255), 1]
    low, middle, high = (np.searchsorted(curve.thresholds, t) for t in (0.05, 0.15, 0.5))
    assert (curve.precision[low], curve.recall[low]) == (0.5, 1)
    assert (curve.precision[middle], curve.recall[middle]) == (0.75, 1)
    assert (curve.precision[high], curve.recall[high]) == (1, 0.75)
    assert (curve.precision[-1], curve.recall[-1], curve.f[-1]) == (0, 0, 0)
    assert curve.maximum == pytest.approx(1.3 * 0.75 / (0.3 + 0.75)) == curve.f[high]
    assert 0.2 < curve.threshold <= 0.21  # the lowest of those that reach it


def test_saliency_f_of_constant_and_perfect_maps() -> None:
    mask = square(10)
    share = mask.mean().item()
    ones = metrics.saliency_f(torch.ones_like(mask), mask)
    assert ones.maximum == pytest.approx(1.3 * share / (0.3 * share + 1))
    assert metrics.saliency_f(torch.zeros_like(mask), mask).maximum == 0
    assert metrics.saliency_f(mask, mask.bool()).maximum == 1
    assert metrics.mae(torch.full_like(mask, 0.5), mask) == 0.5


def test_saliency_as_torchmetrics_and_with_several_sizes() -> None:
    rng = np.random.default_rng(0)
    sizes = ((9, 7), (16, 12))
    maps = [(rng.integers(256, size=s) / 255).astype(np.float32) for s in sizes]
    masks = [rng.random(s) < 0.3 for s in sizes]
    levels = torch.from_numpy(metrics.LEVELS)
    theirs = [binary_precision_recall_curve(torch.from_numpy(p), torch.from_numpy(m).long(),
                                            thresholds=levels) for p, m in zip(maps, masks)]
    curve = metrics.saliency_f(maps, masks)
    for k, ours in enumerate((curve.precision, curve.recall)):
        mean = torch.stack([t[k][:-1] for t in theirs]).mean(0)
        assert ours == pytest.approx(mean.numpy(), abs=1e-6)
    error = np.mean([mean_absolute_error(torch.from_numpy(p), torch.from_numpy(m).float())
                     for p, m in zip(maps, masks)])
    assert metrics.mae(maps, masks) == pytest.approx(error)
    with_axis = [metrics.saliency_f(m[None, None], k[None, None]) for m, k in zip(maps, masks)]
    assert curve.precision == pytest.approx(np.mean([c.precision for c in with_axis], axis=0))


@pytest.mark.parametrize("measure", [metrics.saliency_f, metrics.mae])
def test_saliency_refuses_what_does_not_fit(measure: Callable) -> None:
    mask = square(10)
    with pytest.raises(ValueError, match="found 0 to 3 in image 0: apply a sigmoid"):
        measure(3 * mask, mask)
    with pytest.raises(ValueError, match="sigmoid"):
        measure(torch.full_like(mask, torch.nan), mask)
    with pytest.raises(ValueError, match=r"masks of 0 and 1, found \[  0. 255.\]"):
        measure(mask, 255 * mask)
    with pytest.raises(ValueError, match="1 maps and 2 masks"):
        measure(mask, mask.repeat(2, 1, 1))
    with pytest.raises(ValueError, match=r"one shape.*\(40, 40\).*\(40, 39\)"):
        measure(mask, mask[..., :39])
    with pytest.raises(ValueError, match="0 maps"):
        measure([], [])
    empty = torch.zeros_like(mask)
    assert metrics.mae(empty, empty) == 0
    with pytest.raises(ValueError, match="an object in each mask, found none in 1"):
        metrics.saliency_f(torch.cat([mask, mask]), torch.cat([mask, empty]))


def test_matting_errors_count_the_band_alone() -> None:
    alpha = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    trimap = torch.ones_like(alpha)
    trimap[:, :, 5:15, 5:15] = 0.5
    off = metrics.matting_errors(alpha + 0.1, alpha, trimap)
    assert off["sad"].tolist() == pytest.approx([0.01, 0.01])
    assert off["mse"].tolist() == pytest.approx([0.01, 0.01])
    assert off["gradient"].abs().max() < 1e-12  # a constant has no slope
    outside = torch.where(trimap == 0.5, alpha, 0)
    assert metrics.matting_errors(outside, alpha, trimap)["sad"].abs().max() == 0
    flat = metrics.matting_errors(torch.full_like(alpha, 0.5), alpha, trimap)
    assert (flat["gradient"] > 0).all()
    with pytest.raises(ValueError, match=r"0, 0.5 and 1, found \[127.5 255. \]"):
        metrics.matting_errors(alpha, alpha, 255 * trimap)
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\), found prediction \(2, 20, 20\)"):
        metrics.matting_errors(alpha[:, 0], alpha, trimap)
