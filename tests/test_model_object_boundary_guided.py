"""Object Boundary Guided: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import tagged
import torch
import torch.nn.functional as F

from utils import metrics


@pytest.fixture(scope="module")
def obg() -> dict:
    return tagged.namespace("object-boundary-guided", seed=0)


def halves(left: int, right: int) -> torch.Tensor:
    """One label on the left, another on the right: (1, 8, 20), border at column 10."""
    return torch.tensor([left, right]).repeat_interleave(10).expand(1, 8, 20)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_three_parts_cover_the_picture_and_widen(obg: dict, width: int) -> None:
    parts = obg["relabel"](halves(0, 4), width)
    counts = [(parts == k).sum().item() / 8 for k in range(3)]
    assert counts == [10 - width, 10 - width, 2 * width]
    assert parts[0, 0, 0] == 0 and parts[0, 0, -1] == 1


def test_border_between_two_classes_is_a_boundary_and_classes_do_not_matter(
        obg: dict) -> None:
    first, second = (obg["relabel"](halves(*pair), 1) for pair in ((2, 3), (5, 1)))
    assert torch.equal(first, second) and (first == 2).sum() == 16


def test_mask_of_ones_is_the_fcn_and_one_factor_keeps_the_labels(obg: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 5, 6, 7, generator=generator)
    shares = torch.randn(2, 3, 6, 7, generator=generator).softmax(1)
    same = obg["masked"](scores, torch.ones(5, 3), shares)
    assert torch.allclose(same, scores, atol=1e-6)
    less = obg["masked"](scores, torch.full((5, 3), 0.3), shares)
    assert torch.equal(less.argmax(1), scores.argmax(1))
    assert (less.softmax(1).amax(1) < scores.softmax(1).amax(1)).all()  # and less sure


def test_mask_by_hand_gives_each_part_to_the_labels_it_names(obg: dict) -> None:
    scores = torch.arange(1.0, 5.0).view(1, 4, 1, 1).expand(1, 4, 1, 3)
    shares = F.one_hot(torch.tensor([[[0, 1, 2]]]), 3).movedim(-1, 1).float()
    found = obg["masked"](scores, obg["by_hand"](4), shares)[0, :, 0]
    assert found.T.tolist() == [[1, 0, 0, 0], [0, 2, 3, 4], [1, 0, 0, 0]]


def test_head_adds_enlarged_scores_coarse_to_fine(obg: dict) -> None:
    torch.manual_seed(0)
    head = obg["Head"]([2, 3], 4)
    fine, deep = torch.randn(1, 2, 8, 6), torch.randn(1, 3, 4, 3)
    by_hand = head.read[0](fine) + F.interpolate(head.read[1](deep), (8, 6),
                                                 mode="bilinear")
    assert torch.allclose(head([fine, deep], (8, 6)), by_hand, atol=1e-6)
    coarse = obg["Head"]([3], 4)
    assert torch.equal(coarse([fine, deep], (16, 12)), coarse([deep], (16, 12)))


def test_truth_takes_the_place_of_the_proposal(obg: dict) -> None:
    torch.manual_seed(0)
    net = obg["Guided"]([2, 3], 4, skips=True)
    taps = [torch.randn(1, 2, 8, 8), torch.randn(1, 3, 4, 4)]
    truth = F.one_hot(torch.randint(3, (1, 16, 16)), 3).movedim(-1, 1).float()
    scores, proposal = net(taps, (16, 16), truth)
    assert proposal is None
    assert torch.equal(scores, obg["masked"](net.fcn(taps, (16, 16)), net.V, truth))
    _, told = net(taps, (16, 16))
    assert told.shape == (1, 3, 16, 16)


def test_published_counts(obg: dict) -> None:
    model = obg["paper_scale"]()
    heads = model["heads"]
    assert metrics.parameters(model) == 134_377_415
    assert (metrics.parameters(heads.obp), heads.V.numel()) == (14_601, 63)
    assert metrics.parameters(model) - 14_601 - 63 == 134_362_751  # FCN-8s with 21 labels
