"""PSPNet: the cells tagged `model` of the chapter, executed and tested."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import chapters, metrics


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


def build(pspnet: dict, context=nn.Identity, hidden: int = 16, dilation: int = 1,
          classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return pspnet["Net"](pspnet["scene_trunk"](8), 16, classes, hidden, context, dilation)


@torch.no_grad()
def test_context_ignored_is_the_plain_network(pspnet: dict) -> None:
    full, bare = (fresh(build(pspnet, c)) for c in (pspnet["PyramidPooling"], nn.Identity))
    image = torch.rand(2, 3, 48, 48)
    state = {k: v.clone() for k, v in full.state_dict().items() if "context" not in k}
    state["head.0.0.weight"] = state["head.0.0.weight"][:, :16]
    bare.load_state_dict(state)
    assert not torch.allclose(full(image)[0], bare(image)[0], atol=1e-4)
    full.head[0][0].weight[:, 16:] = 0
    for ours, theirs in zip(full(image), bare(image)):
        assert ours.shape == (2, 5, 12, 12) and torch.allclose(ours, theirs, atol=1e-5)


@torch.no_grad()
def test_dilations_keep_the_map_and_add_two_branches(pspnet: dict, maps) -> None:
    context = fresh(pspnet["Dilations"](8))
    out = context(maps)
    assert out.shape == (3, 16, 12, 12) == (3, context.outputs, 12, 12)
    assert torch.equal(out[:, :8], maps)
    assert [branch[0].dilation[0] for branch in context.branches] == [6, 12]


def reach(net: nn.Module, place: int, side: int = 96) -> list[int]:
    """First and last row that the enlarged main scores at one pixel depend on."""
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3))
    image.requires_grad_()
    scores = F.interpolate(fresh(net)(image)[0], size=(side, side), mode="bilinear")
    scores[0, :, place, place].sum().backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero()
    return [int(rows.min()), int(rows.max())]


def test_windows_are_as_computed(pspnet: dict) -> None:
    for place in (48, 49, 50, 51):
        low, high = reach(build(pspnet), place)
        start = 4 * ((2 * place - 3) // 8) - 7  # the lower of two neighbouring cells
        assert start <= low and high <= start + 18 and high - low >= 12
    low, high = reach(build(pspnet, dilation=6), 48)
    assert 40 < high - low + 1 <= 59  # beyond a fog of 40 pixels
    low, high = reach(build(pspnet, pspnet["PyramidPooling"]), 48)
    assert low <= 2 and high >= 93


def test_arms_are_fair(pspnet: dict) -> None:
    for classes, hidden in ((3, 32), (11, 48)):
        trunk = partial(pspnet["scene_trunk"], 16)
        builds = pspnet["arms"](trunk, 32, classes, hidden)
        counts = {name: metrics.parameters(build()) for name, build in builds.items()}
        assert {counts[f"grid {b}"] for b in (1, 2, 3, 6)} == {counts["PSPNet"]}
        assert counts["PSPNet"] <= counts["FCN"] <= 1.03 * counts["PSPNet"]
        assert counts["dilated"] == counts["FCN"]
        assert counts["two dilations"] > counts["PSPNet"]  # in the rival's favour


@pytest.fixture(scope="module")
def foggy() -> dict:
    """What the chapter's own generator makes: 60 scenes."""
    found = [c.source for c in chapters.get("pspnet").notebook.cells
             if c.cell_type == "code"]
    space: dict = {}
    exec(found[0], space)
    for source in found:
        if "def foggy(" in source or "def ground(" in source:
            exec(source.split("\npooled =")[0], space)
    return {"scenes": space["foggy"](60, "train", 3), **space}


def test_a_clearing_shows_its_ground_in_one_quarter_only(foggy: dict) -> None:
    scenes = foggy["scenes"]
    again, other = (foggy["foggy"](60, split, 3) for split in ("train", "test"))
    assert torch.equal(scenes.image, again.image)
    assert not torch.equal(scenes.image, other.image)
    clear = scenes.kind == 0
    cut = F.avg_pool2d((~scenes.fog[clear]).float()[:, None], 48)[:, 0]  # (20, 2, 2)
    objects = F.max_pool2d(scenes.classes[clear].float()[:, None], 48)[:, 0]
    assert clear.sum() == 20 and (cut.flatten(1).sort().values[:, :3] == 0).all()
    assert (cut.amax((1, 2)) == 1).all() and ((objects == 0) == (cut == 1)).all()
    assert torch.equal(objects.amax((1, 2)), scenes.regions[clear][:, 0, 0].float())
    hidden = scenes.fog & (scenes.classes == 0)
    for image, fog in zip(scenes.image[clear], hidden[clear]):
        grey = image[:, fog]
        assert grey.std(1).max() < 0.06 < image[:, ~fog].std(1).max()


def test_one_cell_hears_of_the_clearing_and_not_of_halves(foggy: dict) -> None:
    scenes = foggy["scenes"]
    signed = foggy["ground"](scenes)
    means = signed.mean((1, 2, 3))
    assert signed.unique().tolist() == [-1, 0, 1]
    assert (means[scenes.kind == 0].abs() == 0.25).all()
    assert (means[scenes.kind == 1] == 0).all()


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
