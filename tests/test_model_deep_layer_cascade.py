"""Deep Layer Cascade: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("deep-layer-cascade", seed=0, VOID=11)


@pytest.fixture(scope="module")
def net(chapter: dict) -> nn.Module:
    torch.manual_seed(0)
    return chapter["Cascade"](6, 5, 8).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("kernel, gap", [(1, 1), (3, 1), (3, 4)])
def test_gathered_is_masked(chapter: dict, kernel: int, gap: int, share: float) -> None:
    conv = nn.Conv2d(5, 7, kernel, padding=gap * (kernel // 2), dilation=gap)
    x = noise(3, 5, 9, 13)
    mask = torch.rand(3, 1, 9, 13, generator=torch.Generator().manual_seed(1)) < share
    wanted = chapter["masked"](conv, x, mask)
    assert torch.allclose(chapter["gathered"](conv, x, mask), wanted, atol=1e-5)
    assert torch.equal(wanted, mask * chapter["everywhere"](conv, x, mask))


def test_only_the_region_gives_gradients(chapter: dict) -> None:
    x, mask = noise(1, 4, 12, 12).requires_grad_(), torch.zeros(1, 1, 12, 12, dtype=bool)
    mask[..., 2:4, 2:4] = True
    torch.manual_seed(0)
    block = chapter["Block"](4, 1)
    (block(x, mask, chapter["masked"]) - x).square().sum().backward()
    assert x.grad[..., 5:, :].abs().max() == 0 == x.grad[..., 5:].abs().max()
    assert x.grad.abs().max() > 0


def test_features_outside_the_mask_stay(chapter: dict) -> None:
    x, mask = noise(2, 4, 10, 10), noise(2, 1, 10, 10, seed=1) > 0.5
    torch.manual_seed(0)
    out = chapter["Block"](4, 2)(x, mask, chapter["masked"])
    outside = (~mask).expand_as(x)
    assert torch.equal(out[outside], x[outside]) and not torch.equal(out, x)


def test_rho_one_is_the_network_without_exits(chapter: dict, net: nn.Module) -> None:
    x = noise(2, 6, 12, 12)
    outs, plain = net(x, chapter["sure"](1.0)), net(x)
    assert all(mask.all() for _, mask in outs)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(outs, plain))
    found, depth = chapter["answer"](outs)
    assert torch.equal(found, plain[-1][0].argmax(1)) and (depth == 2).all()


def test_below_one_in_k_all_leave_at_once(chapter: dict, net: nn.Module) -> None:
    found, depth = chapter["answer"](net(noise(2, 6, 12, 12), chapter["sure"](0.199)))
    assert (depth == 0).all()


def test_exits_part_the_picture_and_first_exits_are_nested(chapter: dict,
                                                           net: nn.Module) -> None:
    x, last = noise(2, 6, 12, 12), None
    for rho in (0.25, 0.3, 0.4, 0.6):
        outs = net(x, chapter["sure"](rho))
        masks = [mask[:, 0] for _, mask in outs]
        _, depth = chapter["answer"](outs)
        assert torch.equal(depth, masks[1].long() + masks[2].long())
        assert not (masks[2] & ~masks[1]).any()
        assert last is None or not (last & ~masks[1]).any()
        last = masks[1]


@pytest.mark.parametrize("rho", [0.3, 0.4])
def test_whole_cascade_gathered(chapter: dict, net: nn.Module, rho: float) -> None:
    x, leaves = noise(2, 6, 12, 12), chapter["sure"](rho)
    for (a, m), (b, k) in zip(net(x, leaves), net(x, leaves, chapter["gathered"])):
        assert torch.equal(m, k) and torch.allclose(a, b, atol=1e-4)


def test_confident_pixels_stop(chapter: dict) -> None:
    scores = torch.tensor([[8.0, 0.0], [0.1, 0.0]]).T[None, :, :, None]  # (1, 2, 2, 1)
    leaves = chapter["sure"](0.95)(0, scores, torch.ones(1, 1, 2, 1, dtype=bool))
    assert leaves.flatten().tolist() == [True, False]


def test_lots(chapter: dict) -> None:
    scores, mask = noise(4, 5, 40, 40) * 3, torch.ones(4, 1, 40, 40, dtype=bool)
    sure = chapter["sure"](0.7)(0, scores, mask).float().mean()
    drawn = chapter["by_lot"](0.7)(0, scores, mask).float().mean()
    assert abs(sure - drawn) < 0.02
    given = chapter["by_lot"](shares=(0.25, 0.9))(1, scores, mask).float().mean()
    assert abs(given - 0.9) < 0.02


def test_loss_is_the_mean_over_the_region(chapter: dict) -> None:
    scores, labels = noise(2, 5, 6, 6), torch.randint(0, 5, (2, 6, 6))
    labels[0, 0] = 11
    mask = noise(2, 1, 6, 6, seed=2) > 0
    inside = mask[:, 0] & (labels != 11)
    each = F.cross_entropy(scores, labels, ignore_index=11, reduction="none")
    loss = chapter["region_loss"](scores, mask, labels, torch.ones(5))
    assert torch.allclose(loss, each[inside].mean())
    weight = torch.arange(1.0, 6)
    loss = chapter["region_loss"](scores, mask, labels, weight)
    mean = F.cross_entropy(scores, labels.where(inside, 11), weight, ignore_index=11)
    assert torch.allclose(loss, mean)
    nothing = chapter["region_loss"](scores, torch.zeros_like(mask), labels, weight)
    assert nothing == 0


def test_paper_scale(chapter: dict) -> None:
    stages = chapter["paper_scale"]()
    rest = 2080 * 1536 + 2 * 1536 + 1536 * 1000 + 1000
    assert metrics.parameters(stages) + rest == 55_843_464
    x, channels = torch.empty(1, 3, 256, 256, device="meta"), []
    for stage in stages:
        x = stage(x)
        channels.append(tuple(x.shape[1:]))
    assert channels == [(1088, 32, 32), (2080, 32, 32), (2080, 32, 32)]
