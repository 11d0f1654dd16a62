"""Residual attention: the cells tagged `model` of the chapter, executed and tested."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import chapters, metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    """The cells tagged `model`, then those that name the arms and split the feature."""
    space = tagged.namespace("residual-attention", seed=0)
    space |= {"images": torch.zeros(1, 3, 16, 16), "device": torch.device("cpu")}
    for start in ("RULES = ", "@torch.no_grad()\ndef parts("):
        [cell] = [cell for cell in chapters.get("residual-attention").notebook.cells
                  if cell.cell_type == "code" and cell.source.startswith(start)]
        exec(cell.source, space)
    return space


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


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("size", [(10, 10), (9, 13), (7, 11), (16, 15)])
def test_mask_has_the_shape_of_its_input(chapter: dict, size: tuple, levels: int,
                                         lean: bool) -> None:
    torch.manual_seed(0)
    branch = chapter["Mask"](partial(chapter["Unit"], 6), 6, levels, lean)
    found = branch(torch.randn(2, 6, *size))
    assert found.shape == (2, 6, *size)
    assert 0 < found.min() and found.max() < 1 and found.std() > 0


def test_mask_looks_farther_than_a_convolution(chapter: dict) -> None:
    torch.manual_seed(0)
    branch = chapter["Mask"](partial(chapter["Unit"], 4), 4, levels=2).eval()
    x = torch.randn(1, 4, 12, 12)
    changed = x.clone()
    changed[..., 5, 5] += 5
    with torch.no_grad():
        moved = (branch(x) - branch(changed)).abs().amax((0, 1)) > 1e-6
    assert moved[5, 5] and moved[5, 0] and moved.float().mean() > 0.5


def test_start_is_added_to_the_logits(chapter: dict, maps: Tensor) -> None:
    """Silent masks begin at sigma(start): one half, or nearly open."""
    for start in (0.0, 3.0):
        branch = chapter["Mask"](partial(chapter["Unit"], 4), 4, start=start).eval()
        silence(branch)
        expected = torch.sigmoid(torch.tensor(start))
        assert torch.allclose(branch(maps), expected.expand_as(maps))


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
    """The naive, the residual and the opened net begin with the same weights."""
    nets = {}
    for name, options in chapter["RULES"].items():
        torch.manual_seed(0)
        nets[name] = chapter["Net"](12, **options)
    counts = {name: metrics.parameters(net) for name, net in nets.items()}
    assert counts["ARL"] == counts["NAL"] == counts["NAL, opened"] > counts["trunk"]
    for other in ("NAL", "NAL, opened"):
        pairs = zip(nets["ARL"].parameters(), nets[other].parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
        assert {module.a for module in nets[other].stack} == {0.0}
    assert {module.a for module in nets["ARL"].stack} == {1.0}
    assert {module.mask.start for module in nets["NAL, opened"].stack} == {3.0}


@pytest.mark.parametrize("rule", ["ARL", "NAL", "trunk"])
def test_parts_add_up_and_follow_the_formula(chapter: dict, rule: str) -> None:
    """The split of the last feature that the share and the hero are drawn from."""
    torch.manual_seed(0)
    net = chapter["Net"](4, **chapter["RULES"][rule]).eval()
    pictures = torch.rand(3, 3, 16, 16)
    found = chapter["parts"](net, pictures)
    with torch.no_grad():
        x = stem = net.stem(pictures)
        for module in net.stack:
            factor = 1.0 if rule == "trunk" else module.a + module.mask(module.before(x))
            x, stem = module(x), stem * factor
    assert len(found) == 5 and torch.allclose(found.sum(0), x, rtol=1e-4, atol=1e-4)
    assert torch.allclose(found[0], stem, rtol=1e-4, atol=1e-6)
    assert chapter["shares"](net, pictures).sum() == pytest.approx(1, abs=1e-4)
    assert len(chapter["parts"](net, pictures, 2)) == 3


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


@pytest.mark.parametrize("modules, p, t, layers", [
    ((1, 1, 1), 1, 2, 56), ((1, 2, 3), 1, 2, 92), ((4, 4, 4), 1, 2, 164),
    ((5, 5, 5), 1, 2, 200), ((6, 6, 6), 2, 4, 452)])
def test_layers_of_the_main_path(chapter: dict, modules: tuple, p: int, t: int,
                                 layers: int) -> None:
    net = chapter["paper_scale"](modules, p, t)
    found = [name for name, layer in net.named_modules()
             if isinstance(layer, (nn.Conv2d, nn.Linear))
             and ".mask." not in name and ".skip" not in name]
    assert len(found) == layers == 3 * (2 * p + t) * sum(modules) + 20
