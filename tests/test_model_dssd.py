"""DSSD: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import blocks, metrics
from utils.data.nested import nested

SIDES = (7, 14, 28, 46, 56)


@pytest.fixture(scope="module")
def dssd() -> dict:
    return tagged.namespace("dssd", seed=0)


@pytest.fixture(scope="module")
def priors(dssd: dict) -> torch.Tensor:
    return dssd["default_boxes"]((64, 64), SIDES)


def random_boxes(n: int, seed: int = 0) -> torch.Tensor:
    low = 50 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
    side = 3 + 30 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed + 1))
    return torch.cat([low, low + side], 1)


def test_default_boxes_lie_in_their_cells(dssd: dict, priors: torch.Tensor) -> None:
    assert priors.shape == (2 * (256 + 64 + 16 + 1), 4)
    assert torch.equal(priors[:2, :2], torch.full((2, 2), 2.0))
    assert torch.equal(priors[2, :2], torch.tensor([6.0, 2.0]))  # x runs fastest
    assert torch.equal(priors[-1, :2], torch.tensor([32.0, 32.0]))
    assert torch.allclose(priors[0, 2:], torch.tensor(7.0))
    assert torch.allclose(priors[1, 2:].prod(), torch.tensor(7.0 * 14))
    wide = dssd["default_boxes"]((64, 128), SIDES)
    assert len(wide) == 2 * len(priors) and wide[:, 0].max() > 64 > wide[:, 1].max()


def test_overlaps_by_hand(dssd: dict) -> None:
    a = torch.tensor([[0.0, 0, 4, 4]])
    b = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [4, 4, 8, 8], [1, 1, 3, 3]])
    expected = torch.tensor([[1, 8 / 24, 0, 4 / 16]])
    assert torch.allclose(dssd["overlaps"](a, b), expected)


def test_offsets_are_inverted_exactly(dssd: dict, priors: torch.Tensor) -> None:
    boxes = random_boxes(len(priors))
    t = dssd["to_offsets"](boxes, priors)
    assert torch.allclose(dssd["to_boxes"](t, priors), boxes, atol=1e-3)
    assert dssd["to_offsets"](dssd["to_corners"](priors), priors).abs().max() < 1e-4
    x = torch.tensor([[10.0, 10, 20, 30]])  # centre 15, 20; sides 10, 20
    t = dssd["to_offsets"](x, torch.tensor([[14.0, 20, 10, 10]]))
    assert torch.allclose(t, torch.tensor([[1.0, 0, 0, torch.log(torch.tensor(2.0)) / 0.2]]))


def test_matching(dssd: dict, priors: torch.Tensor) -> None:
    boxes = torch.tensor([[10.0, 10, 17, 17], [0, 0, 2, 2], [5, 5, 55, 60]])
    labels, offsets = dssd["match"](boxes, torch.tensor([1, 2, 3]), priors)
    shared = dssd["overlaps"](boxes, dssd["to_corners"](priors))
    for k in range(3):  # nobody is left out, however small
        assert labels[shared[k].argmax()] == k + 1
    assert shared[1].max() < 0.5
    sure = shared.max(0).values >= 0.5
    assert (labels[sure] > 0).all() and int((labels > 0).sum()) <= int(sure.sum()) + 3
    back = dssd["to_boxes"](offsets, priors)
    assert torch.allclose(back[labels == 3], boxes[2].expand_as(back[labels == 3]), atol=1e-3)


def test_three_hard_negatives_for_each_match(dssd: dict) -> None:
    """Raising the score of one easy background box changes nothing, of a hard one does."""
    labels = torch.zeros(2, 40, dtype=torch.long)
    labels[0, 3], labels[1, :2] = 1, 2
    scores = torch.zeros(2, 40, 3)
    scores[0, 10:13, 1] = 5.0  # three hard ones in picture 0
    scores[1, 20:26, 1] = 5.0  # six in picture 1
    offsets = torch.zeros(2, 40, 4)

    def loss(s: torch.Tensor, t: torch.Tensor = offsets) -> dict:
        return dssd["step"](lambda x: (s, t), None, labels, offsets)

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


def test_suppression_keeps_the_best_of_each_heap(dssd: dict) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50], [0, 0, 10, 4]])
    kept = dssd["suppress"](boxes, torch.tensor([0.5, 0.9, 0.1, 0.8]))
    assert kept.tolist() == [1, 3, 2]  # IoU of the last and the second: 36 / 104
    everything = dssd["suppress"](boxes, torch.tensor([0.5, 0.9, 0.1, 0.8]), limit=1.0)
    assert everything.tolist() == [1, 3, 0, 2]


def test_detect_finds_what_was_written(dssd: dict, priors: torch.Tensor) -> None:
    box = torch.tensor([[20.0, 20, 28, 27]])
    t = dssd["to_offsets"](box.expand(len(priors), 4), priors)
    scores = torch.zeros(len(priors), 4)
    scores[:, 0] = 20.0
    scores[140, 2] = scores[142, 2] = scores[140, 3] = 19.0
    boxes, values, labels = dssd["detect"](scores, t, priors)
    assert sorted(labels.tolist()) == [2, 3]  # of two equal boxes of a class one survives
    assert torch.allclose(boxes, box.expand(2, 4), atol=1e-3) and (values < 0.5).all()
    empty = dssd["detect"](scores.clamp(min=0) * 0 + torch.eye(4)[0] * 20, t, priors)
    assert len(empty[0]) == len(empty[1]) == len(empty[2]) == 0


@torch.no_grad()
def test_deconvolution_module_is_the_formula(dssd: dict) -> None:
    torch.manual_seed(0)
    for kernel, stride, small in ((2, 2, 5), (3, 1, 8), (4, 4, 3)):
        module = dssd["Deconvolution"](6, 5, 4, kernel, stride).eval()
        size = (small - 1) * stride + kernel
        coarse, lateral = torch.randn(2, 6, small, small), torch.randn(2, 5, size, size)
        a, b = module.up(coarse), module.side(lateral)
        assert torch.equal(module(coarse, lateral), F.relu(a * b))
        module.combine = torch.add
        assert torch.equal(module(coarse, lateral), F.relu(a + b))
        deconv, last = module.up[0], module.up[1]
        assert deconv.bias is not None and last[0].bias is None
        assert isinstance(last[2], nn.Identity) and isinstance(module.side[1][2], nn.Identity)
        assert isinstance(module.side[0][2], nn.ReLU)


@torch.no_grad()
def test_a_product_can_veto_and_a_sum_cannot(dssd: dict) -> None:
    coarse, lateral = torch.randn(2, 6, 4, 4), torch.randn(2, 5, 8, 8)
    for combine, closed in ((torch.mul, True), (torch.add, False)):
        module = dssd["Deconvolution"](6, 5, 4, 2, 2, combine).eval()
        nn.init.zeros_(module.up[1][1].weight)  # a = 0
        assert (module(coarse, lateral).abs().max() == 0) == closed
        nn.init.ones_(module.up[1][1].bias)  # a = 1
        b = module.side(lateral)
        expected = F.relu(b) if closed else F.relu(b + 1)
        assert torch.allclose(module(coarse, lateral), expected)


def test_gates_open_for_products_only(dssd: dict) -> None:
    for combine, scale, shift in ((torch.mul, 0.3, 1.0), (torch.add, 1.0, 0.0)):
        for module in dssd["detector"](5, 32, combine).decoder:
            norm = module.up[1][1]
            assert torch.allclose(norm.weight, torch.tensor(scale))
            assert torch.equal(norm.bias, torch.full_like(norm.bias, shift))


@pytest.mark.parametrize("name", ["DSSD", "SSD", "DSSD, sum"])
def test_outputs_fit_the_default_boxes(dssd: dict, priors, name: str) -> None:
    net = dssd["arms"](5)[name]().eval()
    scores, t = net(torch.rand(2, 3, 64, 64))
    assert scores.shape == (2, len(priors), 6) and t.shape == (2, len(priors), 4)
    maps = net.maps(torch.rand(2, 3, 64, 128))
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 32), (8, 16), (4, 8), (1, 2)]


def test_an_output_stands_at_the_cell_of_its_default_box(dssd: dict, priors) -> None:
    """Scores of one default box of the finest map react to the pixels at its centre."""
    net = dssd["detector"](5, 32).eval()
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    for index in (2 * (5 * 16 + 11), 2 * (12 * 16 + 3) + 1):
        scores, _ = net(x)
        felt = torch.autograd.grad(scores[0, index].sum(), x)[0].abs().sum((0, 1))
        rows, columns = (felt > 0).nonzero().T
        across, down = priors[index, :2].tolist()
        assert (columns.min(), columns.max()) == (across - 9, across + 5)
        assert (rows.min(), rows.max()) == (down - 9, down + 5)
    assert blocks.receptive_field([(3, 2), (3, 2), (1, 1), (3, 1)]) == 15


def test_a_decoder_map_sees_everything(dssd: dict) -> None:
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    for name, build in dssd["arms"](5).items():
        finest = build().eval().maps(x)[0]
        felt = torch.autograd.grad(finest[..., 8, 8].sum(), x)[0].abs().sum((0, 1))
        assert bool((felt > 0).all()) == name.startswith("DSSD")


@pytest.mark.parametrize("seed", range(4))
def test_no_matched_window_meets_the_contour(dssd: dict, priors, seed: int) -> None:
    pictures = nested(120, ("train", "test")[seed % 2], seed=seed)
    seen = 0
    for contour, boxes, kinds in zip(pictures.contour, pictures.boxes, pictures.box_classes):
        labels, _ = dssd["match"](boxes, kinds, priors)
        for index in ((labels == 1) | (labels == 2)).nonzero()[:, 0].tolist():
            assert index < 512  # the finest level
            row, column = index // 2 // 16, index // 2 % 16
            low, left = 4 * row - 7, 4 * column - 7
            assert low >= 0 and left >= 0 and max(low, left) + 15 <= 64
            assert not contour[low:low + 15, left:left + 15].any()
            seen += 1
    assert seen > 150


def test_arms_have_equal_sizes(dssd: dict) -> None:
    for classes in (3, 5):
        counts = {n: metrics.parameters(b()) for n, b in dssd["arms"](classes).items()}
        assert counts["DSSD"] == counts["DSSD, sum"]
        assert abs(counts["SSD"] / counts["DSSD"] - 1) < 0.03


def test_paper_scale(dssd: dict) -> None:
    full, plain = dssd["paper_scale"](), dssd["paper_scale"](decoder=False)
    picture = torch.empty(1, 3, 321, 321, device="meta")
    assert [m.shape[-1] for m in full.maps(picture)] == [40, 20, 10, 5, 3, 1]
    assert [m.shape[1] for m in full.maps(picture)] == [512] * 5 + [1024]
    scores, t = full(picture)
    assert scores.shape == (1, 17_080, 21) and t.shape == (1, 17_080, 4)
    assert metrics.parameters(full.encoder[:2]) == 42_500_160
    assert metrics.parameters(full.encoder[2:]) == 42_749_952
    modules = [metrics.parameters(m) for m in full.decoder]
    assert modules == [14_159_360, 11_800_064, 10_489_344, 15_207_936, 8_130_048]
    predict = [metrics.parameters(m) for m in full.predict]
    assert predict == [1_512_448] * 5 + [2_167_808]
    assert metrics.parameters(full) == 172_380_912
    assert metrics.parameters(plain) == 116_526_320
