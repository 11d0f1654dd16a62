"""DSSD: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import blocks, boxes, metrics
from utils.data.nested import nested

SIDES = (7, 14, 28, 46, 56)


@pytest.fixture(scope="module")
def dssd() -> dict:
    return tagged.namespace("dssd", seed=0)


@pytest.fixture(scope="module")
def priors(dssd: dict) -> torch.Tensor:
    return boxes.default_boxes((64, 64), dssd["STRIDES"], dssd["shapes"](SIDES))


def test_two_squares_a_cell(dssd: dict, priors: torch.Tensor) -> None:
    assert priors.shape == (2 * (256 + 64 + 16 + 1), 4)
    assert torch.allclose(priors[0, 2:], torch.tensor(7.0))
    assert torch.allclose(priors[1, 2:].prod(), torch.tensor(7.0 * 14))
    assert torch.allclose(priors[-1], torch.tensor([32, 32, *2 * ((46 * 56) ** 0.5,)]))


def test_the_step_is_the_loss_of_ssd(dssd: dict) -> None:
    labels, target = torch.zeros(2, 40, dtype=torch.long), torch.zeros(2, 40, 4)
    labels[0, 3], labels[1, :2] = 1, 2
    scores, offsets = torch.randn(2, 40, 3), torch.randn(2, 40, 4)
    found = dssd["step"](lambda x: (scores, offsets), None, labels, target)
    expected = boxes.multibox_loss(scores, offsets, labels, target)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


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
    for contour, objects, kinds in zip(pictures.contour, pictures.boxes, pictures.box_classes):
        labels, _ = boxes.match(objects, kinds, priors)
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
