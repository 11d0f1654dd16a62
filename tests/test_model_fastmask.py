"""FastMask: the cells tagged `model` of the chapter and its helpers, executed and tested."""

import pytest
import torch
import torch.nn.functional as F

import tagged
from utils import chapters, data, metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    space = tagged.namespace("fastmask", SIDE=96, FIT=(0.36, 0.74))
    space["each"] = lambda ids: ids == torch.arange(1, int(ids.max()) + 1)[:, None, None]
    for cell in chapters.get("fastmask").notebook.cells:
        if cell.id in ("fm-targets", "fm-lessons", "fm-propose"):
            exec(cell.source, space)
    return space


def maps(channels: int = 64, size: int = 24, pictures: int = 2) -> torch.Tensor:
    return torch.rand(pictures, channels, size, size,
                      generator=torch.Generator().manual_seed(1))


def network(chapter: dict, **how) -> torch.nn.Module:
    torch.manual_seed(0)
    return chapter["FastMask"](64, **how).eval()


@pytest.mark.parametrize("kind", ["average", "max", "feed-forward", "residual"])
def test_a_neck_halves_and_keeps_its_promise(chapter: dict, kind) -> None:
    neck, x = chapter["Neck"](kind, 64), maps()
    y = neck(x)
    assert y.shape == (2, 64, 12, 12) and (y >= 0).all()
    if kind == "average":
        assert torch.allclose(y.mean((2, 3)), x.mean((2, 3)), atol=1e-6)
    if kind == "max":
        assert (y.mean((2, 3)) > x.mean((2, 3))).all()
    if kind == "residual":  # as the equation has it: the branch pooled after W2
        r = neck.second(F.relu(neck.first(x)))
        assert torch.allclose(y, F.relu(F.avg_pool2d(x, 2) + F.avg_pool2d(r, 2)), atol=1e-5)
    assert metrics.parameters(neck) == (10_320 if kind in ("feed-forward", "residual") else 0)


def test_levels_cost_no_weights_and_share_the_neck(chapter: dict) -> None:
    net, x = network(chapter), maps()
    two, three = net.pyramid(x, zooms=2), net.pyramid(x, zooms=3)
    assert [level.shape[-1] for level in three] == [24, 12, 6, 3]
    assert all(torch.equal(a, b) for a, b in zip(two, three))
    zoomed = net.neck(net.neck(net.body(x)))
    assert torch.equal(two[2], net.reduce(zoomed))
    lone = net.pyramid([x, maps(size=12)])
    assert torch.equal(lone[0], two[0]) and lone[1].shape[-1] == 12


def test_windows_are_the_level_around_their_corner(chapter: dict) -> None:
    net, x = network(chapter, norm=False), maps()
    levels = net.pyramid(x)
    where = torch.tensor([[1, 0, 12, 7], [0, 1, 0, 0], [1, 2, 6, 6], [0, 1, 6, 5]])
    windows = chapter["cut"](net, levels, where)
    assert windows.shape == (4, 16, 10, 10)
    assert torch.equal(windows[0], levels[0][1, :, 7:17, 2:12])
    assert torch.equal(windows[3], levels[1][0, :, 1:11, 0:10])
    assert torch.equal(windows[1, :, 5:, 5:], levels[1][0, :, :5, :5])
    assert not windows[1, :, :5].any() and not windows[1, :, :, :5].any()  # outside is 0
    assert torch.equal(windows[2, :, :5, :5], levels[2][1, :, 1:, 1:])


def test_attention_of_ones_is_the_plain_head_and_of_zeros_a_constant(chapter: dict) -> None:
    net = network(chapter)
    x = torch.randn(3, 16, 10, 10, generator=torch.Generator().manual_seed(2))
    net.attend.weight.data.zero_()
    net.attend.bias.data.fill_(40.0)
    mask, attention = chapter["masked"](net, x)
    assert mask.shape == (3, 400) and attention.shape == (3, 100)
    assert torch.allclose(mask, net.draw(x.flatten(1)), atol=1e-5)
    net.attend.bias.data.fill_(-200.0)
    assert (chapter["masked"](net, x)[0] - chapter["masked"](net, 0 * x)[0]).abs().max() < 1e-6
    kept, net.attend = net.attend, None
    assert chapter["masked"](net, x)[1] is None
    net.attend = kept


def test_a_mask_comes_back_to_where_its_window_saw_it(chapter: dict) -> None:
    strides = torch.tensor([4.0, 8.0, 16.0])
    disc = ((torch.arange(96)[:, None] - 40.5) ** 2
            + (torch.arange(96) - 55.5) ** 2 < 13**2).float()
    for level, row, column in ((0, 10, 14), (1, 5, 7)):
        seen = chapter["views"](disc[None], torch.tensor([[level, row, column]]), strides, 20)
        assert seen.shape == (1, 20, 20)
        where = torch.tensor([[0, level, row, column]])
        logits = (seen.flatten(1) - 0.5) * 20
        back = chapter["pasted"](logits, where, strides, (96, 96))[0]
        inside = disc > 0
        overlap = (back & inside).sum() / (back | inside).sum()
        assert overlap > (0.95 if level == 0 else 0.85)


def test_lessons_keep_the_rule_of_sizes_and_centres(chapter: dict) -> None:
    made = data.load("scenes", n=6, size=96, seed=3, objects=(2, 4), scale=(0.16, 0.8))
    grid, taught = chapter["grid"], set()
    assert len(grid) == 25**2 + 13**2 + 7**2
    for ids, boxes in zip(made.instances, made.boxes):
        right, near, far, box, mask = chapter["lesson"](ids, boxes)
        assert sorted(torch.cat([right, near, far]).tolist()) == list(range(len(grid)))
        assert box.shape == (len(right), 100) and mask.shape == (len(right), 400)
        corners = boxes.float()
        longest = (corners[:, 2:] - corners[:, :2]).amax(1)
        middle = (corners[:, :2] + corners[:, 2:]) / 2
        for level, row, column in grid[right].tolist():
            r = 4 * 2**level
            off = (middle - torch.tensor([column * r, row * r])).abs().amax(1)
            assert ((longest >= 3.6 * r) & (longest <= 7.4 * r) & (off <= r)).any()
            taught.add(level)
        area = (box > 0.5).sum(1)
        assert ((mask > 0.5).sum(1) / 4 <= area + 12).all()  # a mask lies in its box
    assert taught == {0, 1, 2}


def test_near_copies_are_dropped_best_first(chapter: dict) -> None:
    masks = torch.zeros(4, 20, 20, dtype=torch.bool)
    masks[0, :10], masks[1, :11], masks[3, 12:] = True, True, True
    assert chapter["distinct"](masks, 0.7) == [0, 3]  # 1 is a copy, 2 is empty
    assert chapter["distinct"](masks, 0.95) == [0, 1, 3]
    assert chapter["distinct"](masks, 0.95, most=1) == [0]


def test_paper_scale_and_equal_weights(chapter: dict) -> None:
    body, heads = chapter["paper_scale"]()
    parts = {"neck": 2_622_720, "reduce": 131_072, "norm": 256, "score": 7_080_449,
             "attend": 1_280_100, "draw": 7_375_936 - 512}
    assert {name: metrics.parameters(getattr(heads, name)) for name in parts} == parts
    assert metrics.parameters(body) == 8_543_296
    pooled = network(chapter, neck="average", hidden=69)
    assert abs(metrics.parameters(network(chapter)) / metrics.parameters(pooled) - 1) < 0.001


def test_one_stream_has_gaps_and_two_have_none() -> None:
    def gaps(strides):
        spans = sorted((4.2 * r, 6.8 * r) for r in strides)
        return sum(b[0] > a[1] for a, b in zip(spans, spans[1:]))

    assert gaps((16, 32, 64, 128)) == 3 and gaps((24, 48, 96)) == 2
    assert gaps((16, 24, 32, 48, 64, 96, 128)) == 0
    ours = [(3.6 * r, 7.4 * r) for r in (4, 8, 16)]
    assert all(b[0] <= a[1] for a, b in zip(ours, ours[1:]))
