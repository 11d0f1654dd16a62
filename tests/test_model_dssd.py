"""DSSD: the cells tagged `model` of the chapter, executed and tested."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import boxes, imagenet, metrics
from utils.data.nested import nested

STRIDES = 4, 8, 16, 32, 96
BEFORE, WINDOW = 10, 27  # what one prediction of SSD's finest map sees, see the chapter
ARMS = ["SSD", "wide window", "DSSD, sum", "DSSD"]


@pytest.fixture(scope="module")
def dssd() -> dict:
    return tagged.namespace("dssd", seed=0)


@pytest.fixture(scope="module")
def trunk() -> imagenet.Trunk:
    return imagenet.Trunk()


@pytest.fixture(scope="module")
def priors() -> Tensor:
    sides = 10.5, 21, 36, 60, 75, 84
    shapes = [[(s, s), ((s * larger) ** 0.5,) * 2] for s, larger in zip(sides, sides[1:])]
    return boxes.default_boxes((96, 96), STRIDES, shapes)


def maps(n: int = 2, high: int = 96, wide: int = 96) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, c, high // s, wide // s, generator=generator)
            for c, s in zip((*imagenet.CHANNELS[1:], 64), STRIDES)]


def arm(dssd: dict, name: str, classes: int = 5, width: int = 24) -> nn.Module:
    torch.manual_seed(0)
    channels = dssd["channels_of"](name, classes, width)
    return dssd["detector"](name, classes, channels).eval()


@torch.no_grad()
def test_deconvolution_module_is_the_formula(dssd: dict) -> None:
    torch.manual_seed(0)
    for kernel, stride, small in ((2, 2, 5), (3, 1, 8), (3, 3, 3)):
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


@torch.no_grad()
def test_decoder_goes_down_step_by_step(dssd: dict) -> None:
    torch.manual_seed(0)
    E, net = maps(), dssd["decoder"](8, torch.mul).eval()
    D = net(E)
    assert D[-1] is E[-1]
    assert [d.shape[-1] for d in D] == [24, 12, 6, 3, 1] and D[0].shape[1] == 8
    for level, module in zip((3, 2, 1, 0), net.steps):
        assert torch.equal(D[level], module(D[level + 1], E[level]))


@torch.no_grad()
def test_residual_is_the_formula(dssd: dict) -> None:
    block, x = dssd["Residual"](6, 3, 8, inner=3).eval(), torch.randn(2, 6, 5, 5)
    assert torch.allclose(block(x), F.relu(block.skip(x) + block.branch(x)))
    assert block.branch[1][0].kernel_size == (3, 3) and block.skip[0].bias is None
    half = dssd["Residual"](6, 3, 8, kernel=2, stride=2).eval()
    assert half(torch.randn(1, 6, 10, 10)).shape == (1, 8, 5, 5)


@pytest.mark.parametrize("name", ARMS)
def test_outputs_fit_the_default_boxes(dssd: dict, priors: Tensor, name: str) -> None:
    net = arm(dssd, name)
    scores, t = net(maps())
    assert len(priors) == 2 * (576 + 144 + 36 + 9 + 1)
    assert scores.shape == (2, len(priors), 6) and t.shape == (2, len(priors), 4)
    ladder = net.ladder(maps(1, 192, 288))
    assert [tuple(m.shape[2:]) for m in ladder] == [(48, 72), (24, 36), (12, 18), (6, 9), (2, 3)]


def extents(felt: Tensor) -> Iterator[tuple[int, int]]:
    """First and last row, first and last column where a gradient (1, 3, H, W) is not 0."""
    for places in (felt.abs().sum((0, 1)) > 0).nonzero().T:
        yield int(places.min()), int(places.max())


def test_an_output_stands_at_the_cell_of_its_default_box(dssd: dict, trunk, priors) -> None:
    """Scores of SSD's finest map see 27 pixels about the centre of the default box."""
    net, top = arm(dssd, "SSD"), dssd["Top"]().eval()
    x = torch.rand(1, 3, 96, 96, requires_grad=True)
    for index in (2 * (7 * 24 + 11), 2 * (15 * 24 + 3) + 1):
        scores = net(top(trunk(x)[1:]))[0][0, index].sum()
        rows, columns = extents(torch.autograd.grad(scores, x)[0])
        across, down = (int(v) - 2 for v in priors[index, :2])  # the cell's first pixel
        assert rows == (down - BEFORE, down - BEFORE + WINDOW - 1)
        assert columns == (max(across - BEFORE, 0), across - BEFORE + WINDOW - 1)


def test_a_decoder_map_sees_everything(dssd: dict, trunk) -> None:
    top, x = dssd["Top"]().eval(), torch.rand(1, 3, 96, 96, requires_grad=True)
    for name in ARMS:
        finest = arm(dssd, name).ladder(top(trunk(x)[1:]))[0]
        felt = torch.autograd.grad(finest[..., 12, 12].sum(), x)[0].abs().sum((0, 1))
        assert bool((felt > 0).all()) == name.startswith("DSSD")


@pytest.mark.parametrize("seed", range(4))
def test_no_matched_window_meets_the_contour(dssd: dict, priors: Tensor, seed: int) -> None:
    pictures = nested(120, ("train", "test")[seed % 2], 96, seed=seed)
    seen = 0
    for contour, objects, kinds in zip(pictures.contour, pictures.boxes, pictures.box_classes):
        labels, _ = boxes.match(objects, kinds, priors)
        for index in ((labels == 1) | (labels == 2)).nonzero()[:, 0].tolist():
            assert index < 2 * 24**2  # the finest level
            low, left = (4 * place - BEFORE for place in divmod(index // 2, 24))
            assert low >= 0 and left >= 0 and max(low, left) + WINDOW <= 96
            assert not contour[low:low + WINDOW, left:left + WINDOW].any()
            seen += 1
    assert seen > 150


@torch.no_grad()
def test_ssd_answers_alike_for_twins_and_dssd_does_not(dssd: dict, trunk, priors) -> None:
    """Whatever the weights: at a dot the twins give SSD the same scores."""
    pair = [nested(8, "test", 96, seed=2, around=form) for form in ("square", "disc")]
    torch.manual_seed(0)
    top, differ = dssd["Top"]().eval(), {}
    for name in ARMS:
        net = arm(dssd, name)
        scores = [net(top(trunk(p.image)[1:]))[0] for p in pair]
        labels = torch.stack([boxes.match(b, c, priors)[0]
                              for b, c in zip(pair[0].boxes, pair[0].box_classes)])
        differ[name] = (scores[0] - scores[1])[labels == 1].abs().max()
    assert differ["SSD"] < 1e-4 < differ["DSSD"] and differ["DSSD, sum"] > 1e-4


def test_arms_have_equal_sizes(dssd: dict) -> None:
    for classes in (3, 5):
        counts = {name: metrics.parameters(arm(dssd, name, classes)) for name in ARMS}
        assert counts["DSSD"] == counts["DSSD, sum"]
        assert max(counts.values()) < 1.03 * min(counts.values())


def test_paper_scale(dssd: dict) -> None:
    (stages, full), (_, plain) = dssd["paper_scale"](), dssd["paper_scale"](deconvolve=False)
    E, x = [], torch.empty(1, 3, 321, 321, device="meta")
    for stage in stages:
        E.append(x := stage(x))
    assert [m.shape[-1] for m in E] == [40, 20, 10, 5, 3, 1]
    assert [m.shape[1] for m in full.ladder(E)] == [512] * 5 + [1024]
    scores, t = full(E)
    assert scores.shape == (1, 17_080, 21) and t.shape == (1, 17_080, 4)
    assert metrics.parameters(stages[:2]) == 42_500_160
    assert metrics.parameters(stages[2:]) == 42_749_952
    modules = [metrics.parameters(m) for m in full.ladder.steps]
    assert modules == [14_159_360, 11_800_064, 10_489_344, 15_207_936, 8_130_048]
    predict = [metrics.parameters(m) for m in full.predict]
    assert predict == [1_512_448] * 5 + [2_167_808]
    assert metrics.parameters(stages) + metrics.parameters(full) == 172_380_912
    assert metrics.parameters(stages) + metrics.parameters(plain) == 116_526_320
