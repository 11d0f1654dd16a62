"""Residual attention: the cells tagged `model` of the chapter, executed and tested."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("residual-attention", seed=0)


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask(maps: Tensor) -> Tensor:
    return torch.sigmoid(maps.flip(0) * 2)


def silence(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)


def test_rules_at_the_ends(chapter: dict, maps: Tensor) -> None:
    attend, ones = chapter["attend"], torch.ones_like(maps)
    assert torch.equal(attend(maps, 0 * ones), maps)
    assert torch.equal(attend(maps, ones), 2 * maps)
    assert not attend(maps, 0 * ones, 0.0).any()
    assert torch.equal(attend(maps, ones, 0.0), maps)


def test_bounds_and_signs(chapter: dict, maps: Tensor, mask: Tensor) -> None:
    residual, naive = chapter["attend"](maps, mask), chapter["attend"](maps, mask, 0.0)
    assert (residual.abs() > maps.abs()).all() and (residual.abs() < 2 * maps.abs()).all()
    assert torch.equal(residual.sign(), maps.sign())
    assert (naive.abs() < maps.abs()).all()


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_gradient_is_the_factor(chapter: dict, maps: Tensor, mask: Tensor, a: float) -> None:
    free = maps.clone().requires_grad_()
    chapter["attend"](free, mask, a).sum().backward()
    assert torch.allclose(free.grad, a + mask)


def test_other_masks(chapter: dict, maps: Tensor) -> None:
    assert torch.allclose(chapter["channel_mask"](maps).norm(dim=1), torch.ones(2, 5, 7))
    logits = chapter["standardised"](maps)
    assert logits.mean((2, 3)).abs().max() < 1e-6
    assert torch.allclose(logits.std((2, 3), correction=0), torch.ones(2, 4), atol=1e-5)
    assert torch.equal(chapter["spatial_mask"](maps), torch.sigmoid(logits))


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("size", [(10, 10), (9, 13), (7, 11), (16, 15)])
def test_mask_has_the_shape_of_its_input(chapter: dict, size: tuple, lean: bool) -> None:
    torch.manual_seed(0)
    branch = chapter["Mask"](partial(chapter["Unit"], 6), 6, lean=lean)
    found = branch(torch.randn(2, 6, *size))
    assert found.shape == (2, 6, *size)
    assert 0 < found.min() and found.max() < 1 and found.std() > 0


def test_mask_looks_farther_than_a_convolution(chapter: dict) -> None:
    torch.manual_seed(0)
    branch = chapter["Mask"](partial(chapter["Unit"], 4), 4).eval()
    x = torch.randn(1, 4, 12, 12)
    changed = x.clone()
    changed[..., 5, 5] += 5
    with torch.no_grad():
        moved = (branch(x) - branch(changed)).abs().amax((0, 1)) > 1e-6
    assert moved[5, 5] and moved[5, 0] and moved.float().mean() > 0.5


@pytest.mark.parametrize("a", [0.0, 1.0])
def test_module_is_trunk_times_factor(chapter: dict, maps: Tensor, a: float) -> None:
    torch.manual_seed(0)
    unit = partial(chapter["Unit"], 4)
    module = chapter["AttentionModule"](unit, chapter["Mask"](unit, 4), a).eval()
    with torch.no_grad():
        before = module.before(maps)
        expected = module.trunk(before) * (a + module.mask(before))
        assert torch.allclose(module(maps), expected)
        module.mask = None
        assert torch.allclose(module(maps), module.trunk(before))


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("a, base", [(0.0, 0.5), (1.0, 1.5)])
def test_silent_stack_is_a_power(chapter: dict, n: int, a: float, base: float) -> None:
    net = chapter["Net"](n, a).eval()
    silence(net.stack)
    x = torch.randn(1, chapter["width"], 6, 6)
    with torch.no_grad():
        out = x
        for module in net.stack:
            out = module(out)
    assert torch.allclose(out, base**n * x, rtol=1e-5)


def test_arms_are_fair(chapter: dict) -> None:
    nets = {}
    for name, build in chapter["arms"](6, 5).items():
        torch.manual_seed(0)
        nets[name] = build()
    counts = {name: metrics.parameters(net) for name, net in nets.items()}
    assert counts["ARL"] == counts["NAL"] > counts["trunk"]
    assert counts["widened"] == pytest.approx(counts["ARL"], rel=0.06)
    pairs = zip(nets["ARL"].parameters(), nets["NAL"].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert {module.a for module in nets["NAL"].stack} == {0.0}
    assert {module.a for module in nets["ARL"].stack} == {1.0}


def test_unit_is_a_skip(chapter: dict, maps: Tensor) -> None:
    unit = chapter["Unit"](4).eval()
    with torch.no_grad():
        assert torch.allclose(unit(maps) - maps, unit.branch(maps), atol=1e-6)
        silence(unit)
        assert torch.equal(unit(maps), maps)


def test_published_network(chapter: dict) -> None:
    net = chapter["paper_scale"]()
    assert metrics.parameters(net) == 31_810_728
    assert metrics.multiply_adds(net, 3, 224, 224) == pytest.approx(6.27e9, rel=1e-3)
    masks = [metrics.parameters(part.mask) for part in net
             if isinstance(part, chapter["AttentionModule"])]
    assert masks == [695_296, 1_926_656, 4_335_616] and sum(masks) == 6_957_568
    assert metrics.parameters(chapter["paper_scale"]((1, 2, 3))) == 52_466_344
    features = nn.Sequential(*list(net)[:-3])
    assert features(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 2048, 7, 7)


def test_masks_of_the_published_network_end_at_seven_pixels(chapter: dict) -> None:
    net = chapter["paper_scale"]()
    sizes: list[tuple] = []
    for part in net:
        if isinstance(part, chapter["AttentionModule"]):
            part.mask.bottom.register_forward_hook(
                lambda module, given, out: sizes.append(tuple(out.shape[2:])))
    net.eval()(torch.empty(1, 3, 224, 224, device="meta"))
    assert sizes == [(7, 7)] * 3


@pytest.mark.parametrize("modules, layers", [((1, 1, 1), 56), ((1, 2, 3), 92),
                                             ((2, 2, 2), 92), ((5, 5, 5), 200)])
def test_main_path_has_36m_plus_20_layers(chapter: dict, modules: tuple, layers: int) -> None:
    net = chapter["paper_scale"](modules)
    found = [name for name, layer in net.named_modules()
             if isinstance(layer, (nn.Conv2d, nn.Linear))
             and ".mask." not in name and ".skip" not in name]
    assert len(found) == layers == 12 * sum(modules) + 20
