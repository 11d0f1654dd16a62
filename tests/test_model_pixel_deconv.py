"""Pixel Deconvolution: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import metrics

LAYERS = ["deconv 3", "deconv 4", "PixelDCL", "iPixelDCL", "resize"]


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("pixel-deconv", seed=0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_weaving_puts_each_map_at_its_phase(chapter: dict) -> None:
    maps = [noise(2, 3, 4, 5, seed=i) for i in range(4)]
    woven = chapter["weave"](*maps)
    assert woven.shape == (2, 3, 8, 10)
    for map_, (row, column) in zip(maps, [(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert torch.equal(woven[..., row::2, column::2], map_)


@pytest.mark.parametrize("height, width", [(1, 1), (4, 4), (7, 9)])
def test_a_4x4_deconvolution_is_four_convolutions(chapter: dict, height: int,
                                                  width: int) -> None:
    x, weight = noise(2, 5, height, width).double(), noise(5, 3, 4, 4, seed=1).double()
    whole = F.conv_transpose2d(x, weight, stride=2, padding=1)
    assert torch.allclose(chapter["four_convolutions"](x, weight), whole, atol=1e-12)


def test_one_dimension_by_hand(chapter: dict) -> None:
    """y[2i] = w1 x[i] + w3 x[i-1] and y[2i+1] = w2 x[i] + w0 x[i+1]."""
    w, x = noise(4), noise(6, seed=1)
    y = F.conv_transpose1d(x[None, None], w[None, None], stride=2, padding=1)[0, 0]
    before, after = F.pad(x, (1, 0))[:-1], F.pad(x, (0, 1))[1:]
    assert torch.allclose(y[::2], w[1] * x + w[3] * before, atol=1e-6)
    assert torch.allclose(y[1::2], w[2] * x + w[0] * after, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_double_the_side(chapter: dict, name: str) -> None:
    assert chapter["LAYERS"][name](5, 3)(noise(2, 5, 6, 7)).shape == (2, 3, 12, 14)


def test_the_cross_keeps_the_first_two_maps(chapter: dict) -> None:
    layer, x = chapter["PixelDCL"](5, 3), noise(2, 5, 6, 7)
    y, f1 = layer(x), layer.first(x)
    assert torch.equal(y[..., ::2, ::2], f1)
    assert torch.equal(y[..., 1::2, 1::2], layer.second(f1))


def test_the_last_two_maps_see_their_four_neighbours_only(chapter: dict) -> None:
    layer, x = chapter["PixelDCL"](4, 2), noise(1, 4, 6, 6)
    y, w = layer(x), layer.rest.weight
    f1, f2 = y[..., ::2, ::2], y[..., 1::2, 1::2]
    below = F.pad(f1, (0, 0, 0, 1))[..., 1:, :]       # F1[i + 1, j]
    left = F.pad(f2, (1, 0))[..., :-1]                # F2[i, j - 1]
    f4 = sum(torch.einsum("oc,nchw->nohw", w[..., r, c], part) for r, c, part in
             ((0, 1, f1), (2, 1, below), (1, 0, left), (1, 2, f2)))
    assert torch.allclose(y[..., 1::2, ::2], f4, atol=1e-5)


def test_masked_weights_do_nothing_and_learn_nothing(chapter: dict) -> None:
    layer, x = chapter["PixelDCL"](4, 2), noise(1, 4, 6, 6)
    before = layer(x)
    before.square().sum().backward()
    hidden = layer.cross.bool().logical_not()
    assert layer.rest.weight.grad[..., hidden].abs().max() == 0
    with torch.no_grad():
        layer.rest.weight[..., hidden] += 1
    assert torch.equal(layer(x), before)


def test_only_ipixeldcl_hands_its_input_on(chapter: dict) -> None:
    """With F1 silenced, PixelDCL is silent; iPixelDCL still sees x."""
    x = noise(1, 4, 6, 6)
    for name, silent in (("PixelDCL", True), ("iPixelDCL", False)):
        layer = chapter["LAYERS"][name](4, 2)
        nn.init.zeros_(layer.first.weight)
        y = layer(x)
        assert (y.abs().max() == 0) == silent
        assert y[..., ::2, ::2].abs().max() == 0


@pytest.mark.parametrize("name", LAYERS)
def test_only_resizing_keeps_a_flat_map_flat(chapter: dict, name: str) -> None:
    torch.manual_seed(0)
    flat = noise(1, 8, 1, 1).expand(1, 8, 10, 10)
    square = chapter["LAYERS"][name](8, 1)(flat)[0, 0, 8:10, 8:10]
    assert ((square - square.mean()).abs().max() < 1e-5) == (name == "resize")


@pytest.mark.parametrize("name", ["deconv 4", "PixelDCL"])
def test_the_smooth_start_interpolates(chapter: dict, name: str) -> None:
    layer = chapter["LAYERS"][name](3, 3)
    chapter["start"](layer, t=0)
    ramp = torch.arange(8.0)
    for x in (ramp.expand(1, 3, 8, 8), ramp[:, None].expand(1, 3, 8, 8)):
        inner = layer(x)[0, 0, 4:12, 4:12]
        steps = torch.cat([inner.diff(dim=0).flatten(), inner.diff(dim=1).flatten()])
        assert torch.allclose(steps.unique(), torch.tensor([0.0, 0.5]), atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_random_start_keeps_the_variance(chapter: dict, name: str) -> None:
    torch.manual_seed(0)
    layer = chapter["LAYERS"][name](32, 32)
    chapter["start"](layer)
    with torch.no_grad():
        spread = layer(noise(4, 32, 16, 16))[..., 4:-4, 4:-4].var().item()
    assert 0.6 < spread < 1.6


def test_starts_mix(chapter: dict) -> None:
    layers = []
    for t in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        layer = chapter["PixelDCL"](4, 4)
        chapter["start"](layer, t)
        layers.append(layer.second.weight)
    assert torch.allclose(layers[1], (layers[0] + layers[2]) / 2, atol=1e-6)


def test_checkers(chapter: dict) -> None:
    """A checkerboard is all pattern (0 dB), a wave of eight pixels has none."""
    sign = 1.0 - 2 * (torch.arange(16) % 2)
    board = torch.stack([sign[:, None] * sign, torch.zeros(16, 16)])[None]
    assert chapter["checkers"](board).item() == pytest.approx(0, abs=1e-4)
    wave = torch.sin(torch.arange(16) * torch.pi / 4).expand(1, 1, 16, 16)
    both = torch.cat([wave, -wave], dim=1)
    assert chapter["checkers"](both).item() < -60
    half = chapter["checkers"](both + 0.5**0.5 * board * torch.tensor([1, 1]).view(1, 2, 1, 1))
    assert -20 < half.item() < -1


def test_a_common_offset_of_all_classes_does_not_count(chapter: dict) -> None:
    scores, offset = noise(2, 3, 8, 8), noise(2, 1, 8, 8, seed=1)
    assert torch.allclose(chapter["checkers"](scores), chapter["checkers"](scores + offset),
                          atol=1e-3)


@pytest.mark.parametrize("name, count", [("deconv 3", 25_087_189), ("PixelDCL", 31_354_069),
                                         ("iPixelDCL", 50_154_709)])
def test_published_networks(chapter: dict, name: str, count: int) -> None:
    net = chapter["paper_scale"](name)
    gains = sum(layer.weight.numel() for layer in net.modules()
                if isinstance(layer, nn.BatchNorm2d))
    assert metrics.parameters(net) - gains == count
    assert net(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 21, 64, 64)
