"""Boxes: what the detectors share."""

import pytest
import torch
import torch.nn.functional as F

from utils.boxes import (decode, default_boxes, detect, encode, iou, match, multibox_loss,
                         suppress, to_centres, to_corners)

STRIDES = (4, 8, 16, 64)
SHAPES = [[(s, s), ((s * t) ** 0.5,) * 2] for s, t in ((7, 14), (14, 28), (28, 46), (46, 56))]


@pytest.fixture(scope="module")
def priors() -> torch.Tensor:
    return default_boxes((64, 64), STRIDES, SHAPES)


def random_boxes(n: int, seed: int = 0) -> torch.Tensor:
    low = 50 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
    side = 3 + 30 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed + 1))
    return torch.cat([low, low + side], 1)


def test_default_boxes_lie_in_their_cells(priors: torch.Tensor) -> None:
    assert priors.shape == (2 * (256 + 64 + 16 + 1), 4)
    assert torch.equal(priors[:2, :2], torch.full((2, 2), 2.0))
    assert torch.equal(priors[2, :2], torch.tensor([6.0, 2.0]))  # x runs fastest
    assert torch.equal(priors[-1, :2], torch.tensor([32.0, 32.0]))
    assert torch.allclose(priors[0, 2:], torch.tensor(7.0))
    assert torch.allclose(priors[1, 2:].prod(), torch.tensor(7.0 * 14))
    wide = default_boxes((64, 128), STRIDES, SHAPES)
    assert len(wide) == 2 * len(priors) and wide[:, 0].max() > 64 > wide[:, 1].max()


def test_iou_by_hand() -> None:
    a = torch.tensor([[0.0, 0, 4, 4]])
    b = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [4, 4, 8, 8], [1, 1, 3, 3]])
    expected = torch.tensor([[1, 8 / 24, 0, 4 / 16]])
    assert torch.allclose(iou(a, b), expected)


def test_offsets_are_inverted_exactly(priors: torch.Tensor) -> None:
    boxes = random_boxes(len(priors))
    t = encode(boxes, priors)
    assert torch.allclose(decode(t, priors), boxes, atol=1e-3)
    assert encode(to_corners(priors), priors).abs().max() < 1e-4
    x = torch.tensor([[10.0, 10, 20, 30]])  # centre 15, 20; sides 10, 20
    t = encode(x, torch.tensor([[14.0, 20, 10, 10]]))
    assert torch.allclose(t, torch.tensor([[1.0, 0, 0, torch.log(torch.tensor(2.0)) / 0.2]]))


def test_matching(priors: torch.Tensor) -> None:
    boxes = torch.tensor([[10.0, 10, 17, 17], [0, 0, 2, 2], [5, 5, 55, 60]])
    labels, offsets = match(boxes, torch.tensor([1, 2, 3]), priors)
    shared = iou(boxes, to_corners(priors))
    for k in range(3):  # nobody is left out, however small
        assert labels[shared[k].argmax()] == k + 1
    assert shared[1].max() < 0.5
    sure = shared.max(0).values >= 0.5
    assert (labels[sure] > 0).all() and int((labels > 0).sum()) <= int(sure.sum()) + 3
    back = decode(offsets, priors)
    assert torch.allclose(back[labels == 3], boxes[2].expand_as(back[labels == 3]), atol=1e-3)


def test_three_hard_negatives_for_each_match() -> None:
    """Raising the score of one easy background box changes nothing, of a hard one does."""
    labels = torch.zeros(2, 40, dtype=torch.long)
    labels[0, 3], labels[1, :2] = 1, 2
    scores = torch.zeros(2, 40, 3)
    scores[0, 10:13, 1] = 5.0  # three hard ones in picture 0
    scores[1, 20:26, 1] = 5.0  # six in picture 1
    offsets = torch.zeros(2, 40, 4)

    def loss(s: torch.Tensor, t: torch.Tensor = offsets) -> dict:
        return multibox_loss(s, t, labels, offsets)

    first = F.cross_entropy(scores[0, 10:11], torch.tensor([0]))
    matched = torch.log(torch.tensor(3.0))
    assert torch.allclose(loss(scores)["what"], (9 * first + 3 * matched) / 3)
    easy, hard = scores.clone(), scores.clone()
    easy[0, 30, 1], hard[0, 10, 1] = 1.0, 6.0
    assert torch.equal(loss(easy)["loss"], loss(scores)["loss"])
    assert loss(hard)["loss"] > loss(scores)["loss"]
    moved = torch.zeros(2, 40, 4)
    moved[0, 30] = 9.0  # background boxes have no place to be at
    assert loss(scores, moved)["where"] == 0
    moved[0, 3] = 2.0
    assert torch.allclose(loss(scores, moved)["where"], torch.tensor(4 * 1.5 / 3))
    labels.zero_()
    assert torch.isfinite(loss(scores)["loss"])


def test_suppression_keeps_the_best_of_each_heap() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50], [0, 0, 10, 4]])
    kept = suppress(boxes, torch.tensor([0.5, 0.9, 0.1, 0.8]))
    assert kept.tolist() == [1, 3, 2]  # IoU of the last and the second: 36 / 104
    everything = suppress(boxes, torch.tensor([0.5, 0.9, 0.1, 0.8]), limit=1.0)
    assert everything.tolist() == [1, 3, 0, 2]


def test_detect_finds_what_was_written(priors: torch.Tensor) -> None:
    box = torch.tensor([[20.0, 20, 28, 27]])
    t = encode(box.expand(len(priors), 4), priors)
    scores = torch.zeros(len(priors), 4)
    scores[:, 0] = 20.0
    scores[140, 2] = scores[142, 2] = scores[140, 3] = 19.0
    boxes, values, labels = detect(scores, t, priors)
    assert sorted(labels.tolist()) == [2, 3]  # of two equal boxes of a class one survives
    assert torch.allclose(boxes, box.expand(2, 4), atol=1e-3) and (values < 0.5).all()
    empty = detect(scores.clamp(min=0) * 0 + torch.eye(4)[0] * 20, t, priors)
    assert len(empty[0]) == len(empty[1]) == len(empty[2]) == 0


def test_default_boxes_may_differ_in_number_and_form() -> None:
    boxes = default_boxes((8, 16), (4, 8), [[(4, 2), (8, 2), (3, 3)], [(12, 4)]])
    assert boxes.shape == (3 * 2 * 4 + 2, 4)
    assert boxes[:3].tolist() == [[2, 2, 4, 2], [2, 2, 8, 2], [2, 2, 3, 3]]
    assert boxes[-1].tolist() == [12, 4, 12, 4]


def test_default_boxes_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="one list of"):
        default_boxes((8, 8), (4, 8), [[(4, 4)]])
    with pytest.raises(ValueError, match="stride 3 does not divide"):
        default_boxes((8, 8), (3,), [[(4, 4)]])


def test_corners_and_centres() -> None:
    boxes = random_boxes(20)
    assert torch.allclose(to_corners(to_centres(boxes)), boxes, atol=1e-5)
    assert to_centres(torch.tensor([0.0, 2, 4, 8])).tolist() == [2, 5, 4, 6]


def test_a_picture_without_objects_is_all_background(priors: torch.Tensor) -> None:
    labels, offsets = match(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), priors)
    assert labels.shape == (len(priors),) and offsets.shape == (len(priors), 4)
    assert not labels.any() and not offsets.any()


def test_the_least_overlap_of_a_match(priors: torch.Tensor) -> None:
    boxes, classes = random_boxes(4, seed=3), torch.tensor([1, 1, 2, 2])
    counts = [int((match(boxes, classes, priors, t)[0] > 0).sum()) for t in (0.3, 0.5, 0.9)]
    assert counts[0] > counts[1] > counts[2] >= 1
