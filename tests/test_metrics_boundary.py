"""The boundary benchmark against cases counted by hand and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utils import metrics

HALF = [0.5]


def blank(size: int = 16) -> np.ndarray:
    return np.zeros((size, size))


def line(column: int, size: int = 16, width: int = 1) -> np.ndarray:
    out = blank(size)
    out[2:-2, column : column + width] = 1
    return out


def brute_force_pairs(p: np.ndarray, t: np.ndarray, tolerance: float) -> int:
    """Largest matching by augmenting paths, one predicted pixel at a time."""
    left, right = np.argwhere(p), np.argwhere(t)
    owner: dict[int, int] = {}

    def augment(i: int, seen: set[int]) -> bool:
        for j, pixel in enumerate(right):
            if j in seen or ((left[i] - pixel) ** 2).sum() > tolerance**2:
                continue
            seen.add(j)
            if j not in owner or augment(owner[j], seen):
                owner[j] = i
                return True
        return False

    return sum(augment(i, set()) for i in range(len(left)))


def test_perfect_prediction() -> None:
    truth = line(5) + np.eye(16)[::-1] > 0
    curve = metrics.boundary_pr([truth], [truth])
    assert curve.ods == curve.ois == 1
    assert (curve.f == 1).all()
    assert curve.area == 1
    assert curve.ap == 0  # Berkeley's rule: one point is no curve


def test_perfect_prediction_of_a_staircase() -> None:
    disc = np.hypot(*np.mgrid[-15:17, -15:17]) < 9.5
    edge = disc ^ np.pad(disc, ((1, 0), (1, 0)))[:-1, :-1]
    assert metrics.boundary_pr([edge], [edge], tolerance=0).ods == 1


def test_two_predictions_compete_for_one_truth() -> None:
    predicted, truth = blank(), blank()
    predicted[8, 7] = predicted[8, 9] = truth[8, 8] = 1
    counts = metrics.boundary_counts(predicted, truth, HALF)
    assert counts.tolist() == [[1, 2, 1, 1]]
    curve = metrics.boundary_pr([predicted], [truth], HALF)
    assert curve.precision[0] == 0.5
    assert curve.recall[0] == 1
    assert curve.ods == pytest.approx(2 / 3)


def test_matching_is_the_largest_not_the_nearest() -> None:
    # Pixels in one row, p = predicted, t = truth, b = both:  t b p. The nearest
    # pair (b with itself) would leave one on each side; the largest has two pairs.
    predicted, truth = blank(), blank()
    truth[8, 4] = truth[8, 5] = predicted[8, 5] = predicted[8, 6] = 1
    counts = metrics.boundary_counts(predicted, truth, HALF, thin=False)
    assert counts.tolist() == [[2, 2, 2, 2]]


@pytest.mark.parametrize(
    ("shift", "tolerance", "f"), [(1, 1, 1), (1, 0.9, 0), (3, 1, 0), (3, 3, 1)]
)
def test_shift_and_tolerance(shift: int, tolerance: float, f: float) -> None:
    curve = metrics.boundary_pr([line(5)], [line(5 + shift)], tolerance=tolerance)
    assert curve.ods == f


def test_tolerance_is_euclidean() -> None:
    predicted, truth = blank(), blank()
    predicted[8, 8] = truth[9, 9] = 1
    assert metrics.boundary_pr([predicted], [truth], tolerance=1.4).ods == 0
    assert metrics.boundary_pr([predicted], [truth], tolerance=1.5).ods == 1


def test_thick_edges_are_thinned() -> None:
    thick, truth = line(5, 32, width=3), line(6, 32)
    thin = metrics.boundary_pr([thick], [truth])
    raw = metrics.boundary_pr([thick], [truth], thin=False)
    assert thin.precision[0] > 0.95
    assert thin.recall[0] > 0.9
    assert raw.precision[0] == pytest.approx(1 / 3)
    assert raw.recall[0] == 1


def test_empty_prediction_and_empty_truth() -> None:
    nothing = metrics.boundary_pr([blank()], [line(5)])
    assert nothing.ods == nothing.ois == nothing.ap == nothing.area == 0
    assert metrics.boundary_counts(blank(), line(5), HALF).tolist() == [[0, 0, 0, 12]]
    assert metrics.boundary_counts(line(5), blank(), HALF).tolist() == [[0, 12, 0, 0]]
    assert metrics.boundary_pr([line(5)], [blank()]).ods == 0
    assert metrics.boundary_pr([blank()], [blank()]).ods == 0


def test_image_without_edges_costs_ois_nothing() -> None:
    faint = 0.2 * line(5)  # false alarms at low thresholds only
    curve = metrics.boundary_pr([faint, line(5)], [blank(), line(5)])
    assert curve.ois == 1


def test_several_annotators() -> None:
    # Two annotators, 12 pixels each, lines 6 pixels apart; the prediction has the
    # first line and a third one that nobody drew.
    predicted = np.maximum(line(2), line(13))
    truth = np.stack([line(2), line(8)])
    counts = metrics.boundary_counts(predicted, truth, HALF)
    assert counts.tolist() == [[12, 24, 12, 24]]
    agreed = metrics.boundary_counts(line(2), np.stack([line(2), line(3)]), HALF)
    assert agreed.tolist() == [[12, 12, 24, 24]]  # a pixel counts once for precision


def two_images() -> tuple[np.ndarray, np.ndarray]:
    """Isolated pixels, so that thinning changes nothing and all counts are plain."""
    predictions, truths = np.zeros((2, 16, 16)), np.zeros((2, 16, 16))
    spots = [(1, 1), (1, 5), (1, 9), (1, 13), (6, 1), (6, 5)]
    for n, truth, values in [
        (0, 4, (0.9, 0.9, 0.6, 0.3, 0.3, 0.3)),  # hits at .9 .9 .6 .3, false .3 .3
        (1, 2, (0.6, 0.3, 0.6, 0.6, 0.3, 0.3)),  # hits at .6 .3, false .6 .6 .3 .3
    ]:
        for i, (y, x) in enumerate(spots):
            predictions[n, y, x], truths[n, y, x] = values[i], i < truth
    return predictions, truths


def test_summaries_by_hand() -> None:
    curve = metrics.boundary_pr(*two_images(), thresholds=[0.25, 0.5, 0.75])
    # matched, predicted, truth: 6 of 12 of 6; 4 of 6 of 6; 2 of 2 of 6.
    assert curve.precision == pytest.approx([1 / 2, 2 / 3, 1])
    assert curve.recall == pytest.approx([1, 2 / 3, 1 / 3])
    assert curve.f == pytest.approx([2 / 3, 2 / 3, 1 / 2])
    assert curve.ods == pytest.approx(2 / 3)
    # image 0: F = .8 (4/6, 4/4), 6/7 (3/3, 3/4), 2/3; takes 0.5.
    # image 1: F = .5 (2/6, 2/2), .4 (1/3, 1/2), 0; takes 0.25. Sum: 5 of 9 of 6.
    assert curve.ois == pytest.approx(2 * 5 / (9 + 6))
    # Straight lines (1/3, 1), (2/3, 2/3), (1, 1/2) at recalls .34 ... 1.00.
    first = sum(1 - (r / 100 - 1 / 3) for r in range(34, 67))
    second = sum(2 / 3 - (r / 100 - 2 / 3) / 2 for r in range(67, 101))
    assert curve.ap == pytest.approx((first + second) / 101)
    assert curve.area == pytest.approx((34 + first + second) / 101)


def test_ap_ignores_dominated_thresholds() -> None:
    recall = np.array([0.8, 1.0, 0.5, 0.0])
    precision = np.array([0.3, 0.5, 1.0, 0.0])
    expected = sum(1 - (r / 100 - 0.5) for r in range(50, 101)) / 101
    assert metrics.boundary._area(recall, precision, fill=False) == pytest.approx(expected)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2.3])
def test_matching_against_brute_force(tolerance: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        p, t = rng.random((2, 9, 11)) < rng.uniform(0.05, 0.5, (2, 1, 1))
        counts = metrics.boundary_counts(p, t, HALF, tolerance, thin=False)[0]
        pairs = brute_force_pairs(p, t, tolerance)
        assert counts.tolist() == [pairs, p.sum(), pairs, t.sum()]


def test_counts_at_each_threshold_equal_counts_of_the_binary_map() -> None:
    rng = np.random.default_rng(1)
    soft = rng.random((24, 24)).round(1)
    truth = rng.random((2, 24, 24)) < 0.1
    counts = metrics.boundary_counts(soft, truth)
    for threshold, row in zip(metrics.THRESHOLDS, counts, strict=True):
        alone = metrics.boundary_counts(soft >= threshold, truth, HALF)[0]
        assert (row == alone).all()


def test_better_maps_score_better_and_ods_stays_below_ois() -> None:
    rng = np.random.default_rng(2)
    truths = np.stack([line(c, 32) for c in range(6, 26, 2)])
    scores = []
    for noise in (0.1, 0.4, 0.6):
        soft = 0.6 * truths + noise * rng.random(truths.shape)
        curve = metrics.boundary_pr(soft.clip(0, 1), torch.tensor(truths))
        assert curve.ods <= curve.ois
        scores.append(curve.ods)
    assert scores == sorted(scores, reverse=True)


def test_bad_input_says_what_was_expected() -> None:
    with pytest.raises(ValueError, match="sigmoid"):
        metrics.boundary_pr([3 * line(5)], [line(5)])
    with pytest.raises(ValueError, match="sigmoid"):
        metrics.boundary_pr([np.full((16, 16), np.nan)], [line(5)])
    with pytest.raises(ValueError, match="as many truths"):
        metrics.boundary_pr([line(5)], [])
    with pytest.raises(ValueError, match="expected a prediction"):
        metrics.boundary_pr([line(5)], [line(5, 32)])
    with pytest.raises(ValueError, match="increasing"):
        metrics.boundary_pr([line(5)], [line(5)], thresholds=[0.5, 0.5])
    with pytest.raises(ValueError, match="tolerance"):
        metrics.boundary_pr([line(5)], [line(5)], tolerance=-1)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135])
def test_suppression_keeps_the_ridge(angle: int) -> None:
    """A blurred line at any angle is thinned to pixels within one of its centre."""
    y, x = np.mgrid[:41, :41] - 20.0
    a = np.deg2rad(angle)
    off = np.abs(-np.sin(a) * x + np.cos(a) * y)  # distance to the line
    soft = np.exp(-(off**2) / (2 * 3**2))
    kept = metrics.suppress_non_maxima(soft[None])[0]
    inside = np.hypot(x, y) < 15
    assert (off[(kept > 0.1) & inside] <= 1).all()
    curve = metrics.boundary_pr(kept[None], (off < 0.5)[None])
    assert curve.ods > 0.9
    lower = [(kept >= t).sum() for t in (0.9, 0.5, 0.1)]
    assert lower == sorted(lower)


def test_suppression_wants_a_stack() -> None:
    with pytest.raises(ValueError, match=r"maps \(N, H, W\)"):
        metrics.suppress_non_maxima(np.zeros((4, 4)))
