"""DSD: the cells tagged `model` of the chapter, executed and tested."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("dsd", seed=0)


@pytest.fixture
def net(chapter: dict) -> nn.Module:
    torch.manual_seed(0)
    return chapter["Net"](6, 16)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [16, 32])
def test_net_names_ten_classes(chapter: dict, size: int) -> None:
    assert chapter["Net"](6, size)(noise(2, 3, size, size)).shape == (2, 10)


@pytest.mark.parametrize("s", [0.0, 0.25, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("shape", [(10, 7), (4, 3, 3, 3)])
def test_mask_keeps_the_largest(chapter: dict, shape: tuple, s: float) -> None:
    weight = noise(*shape)
    mask = chapter["magnitude_mask"](weight, s)
    assert mask.shape == weight.shape and set(mask.unique().tolist()) <= {0.0, 1.0}
    assert int(mask.sum()) == round(weight.numel() * (1 - s))
    kept, gone = weight[mask == 1].abs(), weight[mask == 0].abs()
    assert not len(gone) or kept.min() >= gone.max()


def test_mask_by_hand_and_in_any_memory_format(chapter: dict) -> None:
    weight = torch.tensor([[3.0, -1.0], [0.5, -2.0]])
    assert chapter["magnitude_mask"](weight, 0.5).tolist() == [[1, 0], [0, 1]]
    kernel = noise(4, 3, 3, 3)
    other = kernel.to(memory_format=torch.channels_last)
    assert torch.equal(chapter["magnitude_mask"](kernel, 0.3),
                       chapter["magnitude_mask"](other, 0.3))


def test_first_layer_and_biases_are_not_pruned(chapter: dict, net: nn.Module) -> None:
    weights = chapter["prunable"](net)
    assert [w.ndim for w in weights] == [4, 2, 2]
    assert all(w is not net[0].weight for w in weights)
    before = copy.deepcopy(net)
    chapter["hold"](net, chapter["smallest_out"](net, 0.9))
    assert torch.equal(net[0].weight, before[0].weight)
    for old, new in zip(before.parameters(), net.parameters()):
        assert torch.equal(old, new) == (old.ndim == 1 or old.shape == net[0].weight.shape)


def test_each_layer_has_its_own_threshold(chapter: dict, net: nn.Module) -> None:
    with torch.no_grad():
        chapter["prunable"](net)[0].mul_(100)
    for mask in chapter["smallest_out"](net, 0.3):
        assert (mask == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)


def test_held_weights_stay_zero_under_momentum_and_decay(chapter: dict,
                                                         net: nn.Module) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    masks = None
    for number in range(5):
        optimizer.zero_grad()
        F.cross_entropy(net(noise(8, 3, 16, 16)), torch.arange(8)).backward()
        optimizer.step()
        masks = masks or chapter["smallest_out"](net, 0.5)
        chapter["hold"](net, masks)
        for weight, mask in zip(chapter["prunable"](net), masks):
            assert weight[mask == 0].abs().max() == 0 < weight[mask == 1].abs().min()


def test_nothing_pruned_changes_nothing(chapter: dict, net: nn.Module) -> None:
    before = copy.deepcopy(net)
    chapter["hold"](net, chapter["smallest_out"](net, 0.0))
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), net.parameters()))


@pytest.mark.parametrize("s, threshold, share", [(0.3, 0.385, 0.015), (0.5, 0.674, 0.071),
                                                 (0.6, 0.842, 0.129)])
def test_gaussian_cut(chapter: dict, s: float, threshold: float, share: float) -> None:
    found = chapter["gaussian_cut"](s)
    assert found == pytest.approx((threshold, share), abs=6e-4)
    values = noise(200_000).double()
    small = values.square() * (values.abs() < found[0])
    assert (small.sum() / values.square().sum()).item() == pytest.approx(share, abs=2e-3)


def test_rise_at_a_minimum_is_half_h_w_squared() -> None:
    h, w = noise(6).abs().double() + 0.1, noise(6, seed=1).double()
    loss = lambda x: 0.5 * (h * (x - w).square()).sum()  # noqa: E731
    gone = torch.tensor([True, False, True, False, False, True])
    rise = loss(torch.where(gone, 0.0, w)) - loss(w)
    assert math.isclose(rise, 0.5 * (h * w.square())[gone].sum(), rel_tol=1e-12)


def test_published_network(chapter: dict) -> None:
    net = chapter["paper_scale"]()
    assert metrics.parameters(net) == 138_357_544
    biases = sum(p.numel() for p in net.parameters() if p.ndim == 1)
    pruned = sum(w.numel() for w in chapter["prunable"](net))
    assert pruned == 138_357_544 - biases - net[0].weight.numel()
    assert len(chapter["prunable"](net)) == 15
