"""PSPNet: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def pspnet() -> dict:
    return tagged.namespace("pspnet", seed=0)


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand(3, 8, 12, 12, generator=torch.Generator().manual_seed(0))


def fresh(module: nn.Module) -> nn.Module:
    """Random statistics in every batch norm, so that it is not the identity."""
    generator = torch.Generator().manual_seed(1)
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            values.copy_(torch.rand(len(values), generator=generator) + 0.1)
    return module.eval()


@torch.no_grad()
def test_levels_are_the_formula(pspnet: dict, maps: torch.Tensor) -> None:
    pool = fresh(pspnet["PyramidPooling"](8))
    out = pool(maps)
    assert out.shape == (3, 16, 12, 12) and torch.equal(out[:, :8], maps)
    for k, (b, reduce) in enumerate(zip((1, 2, 3, 6), pool.reduce)):
        side = 12 // b
        means = maps.unfold(2, side, side).unfold(3, side, side).mean((-2, -1))
        conv, norm, _ = reduce
        q = torch.einsum("oc,ncuv->nouv", conv.weight[..., 0, 0], means)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        q = (q - norm.running_mean[:, None, None]) * scale[:, None, None]
        q = torch.relu(q + norm.bias[:, None, None])
        up = F.interpolate(q, size=(12, 12), mode="bilinear", align_corners=False)
        assert torch.allclose(out[:, 8 + 2 * k:10 + 2 * k], up, atol=1e-5)
        assert conv.bias is None and conv.weight.shape == (2, 8, 1, 1)


@pytest.mark.parametrize("bins", [(1,), (6,), (1, 2), (1, 2, 3, 6)])
def test_channels_double_for_any_bins(pspnet: dict, maps: torch.Tensor, bins) -> None:
    pool = pspnet["PyramidPooling"](8, bins=bins).eval()
    assert pool.outputs == 16 and pool(maps).shape == (3, 16, 12, 12)
    assert pool(maps[..., :7, :11]).shape == (3, 16, 7, 11)  # cells need not divide it


@torch.no_grad()
def test_one_cell_ignores_the_layout_and_four_do_not(pspnet: dict, maps) -> None:
    order = torch.randperm(144, generator=torch.Generator().manual_seed(2))
    moved = maps.flatten(2)[..., order].view_as(maps)
    for bins, same in (((1,), True), ((2,), False), ((6,), False)):
        pool = fresh(pspnet["PyramidPooling"](8, bins=bins))
        gap = (pool(maps)[:, 8:] - pool(moved)[:, 8:]).abs().max()
        assert (gap < 1e-5) == same
    pool = fresh(pspnet["PyramidPooling"](8))
    flat = maps.mean((2, 3), keepdim=True).expand_as(maps)
    assert pool(flat).flatten(2).std(-1).max() < 1e-5


@torch.no_grad()
def test_context_ignored_is_the_plain_network(pspnet: dict) -> None:
    torch.manual_seed(0)
    full = fresh(pspnet["Net"](5, 16, pspnet["PyramidPooling"]))
    bare = fresh(pspnet["Net"](5, 16))
    wide = 2 * pspnet["width"]
    image = torch.rand(2, 3, 48, 48)
    state = {k: v.clone() for k, v in full.state_dict().items() if "pyramid" not in k}
    state["head.0.0.weight"] = state["head.0.0.weight"][:, :wide]
    bare.load_state_dict(state)
    assert not torch.allclose(full(image)[0], bare(image)[0], atol=1e-4)
    full.head[0][0].weight[:, wide:] = 0
    assert torch.allclose(full(image)[0], bare(image)[0], atol=1e-5)
    assert torch.allclose(full(image)[1], bare(image)[1], atol=1e-5)


def reach(net: nn.Module, place: int, side: int = 96) -> list[int]:
    """First and last row that the main scores at one pixel depend on."""
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3))
    image.requires_grad_()
    fresh(net)(image)[0][0, :, place, place].sum().backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero()
    return [int(rows.min()), int(rows.max())]


def test_windows_are_as_computed(pspnet: dict) -> None:
    torch.manual_seed(0)
    for place in (48, 49, 50, 51):
        low, high = reach(pspnet["Net"](3, 64), place)
        start = 4 * ((2 * place - 3) // 8) - 7  # the lower of two neighbouring cells
        assert start <= low and high <= start + 18 and high - low >= 12
    low, high = reach(pspnet["Net"](3, 64, dilation=4), 48)
    assert high - low + 1 <= 43 and high - low > 30
    low, high = reach(pspnet["Net"](3, 64, pspnet["PyramidPooling"]), 48)
    assert low <= 2 and high >= 93


def test_arms_are_fair(pspnet: dict) -> None:
    for classes in (3, 11):
        builds = pspnet["arms"](classes)
        counts = {name: metrics.parameters(build()) for name, build in builds.items()}
        singles = {counts[f"level {b} only"] for b in (1, 2, 3, 6)}
        assert singles == {counts["PSPNet"]}
        assert counts["PSPNet"] <= counts["FCN"] <= 1.03 * counts["PSPNet"]
        assert counts["dilated FCN"] == counts["FCN"]


@pytest.mark.parametrize("classes, blocks, count", [
    (150, 6, 46_782_550), (21, 23, 65_708_501), (19, 23, 65_707_475)])
def test_published_networks(pspnet: dict, classes: int, blocks: int, count: int) -> None:
    net = pspnet["paper_scale"](classes, (3, 4, blocks, 3))
    assert metrics.parameters(net) == count


def test_parts_of_the_published_network(pspnet: dict) -> None:
    net = pspnet["paper_scale"]()
    assert metrics.parameters(net[-4]) == 4_198_400
    assert net[-3][0].weight.numel() == 18_874_368
    plain = pspnet["paper_scale"](pyramid=nn.Identity)
    assert metrics.parameters(plain) == 33_146_966
    image = torch.empty(1, 3, 473, 473, device="meta")
    assert net[:-4](image).shape == (1, 2048, 60, 60)
    assert net[:-3](image).shape == (1, 4096, 60, 60)
    assert net(image).shape == (1, 150, 60, 60)
    dilations = [m.dilation[0] for m in net.modules()
                 if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert dilations == [1] * 3 + [1] * 7 + [2] * 6 + [4] * 3 + [1]


def test_pyramid_is_cheap_and_its_head_is_not(pspnet: dict) -> None:
    net = pspnet["paper_scale"]()
    assert metrics.multiply_adds(net[-4], 2048, 60, 60) == 2048 * 512 * 50
    assert metrics.multiply_adds(net[-3], 4096, 60, 60) == 4096 * 512 * 9 * 3600
