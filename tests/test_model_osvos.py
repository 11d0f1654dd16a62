"""OSVOS: the cells tagged `model` of the chapter, executed and tested."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import imagenet, losses, metrics

WIDTHS, STRIDES = imagenet.CHANNELS[:4], imagenet.STRIDES[:4]


@pytest.fixture(scope="module")
def osvos() -> dict:
    return tagged.namespace("osvos", seed=0)


@pytest.fixture
def net(osvos: dict) -> nn.Module:
    torch.manual_seed(0)
    return osvos["OSVOS"](partial(nn.Conv2d, kernel_size=3, padding=1), WIDTHS, STRIDES, 8)


@pytest.fixture
def masks() -> torch.Tensor:
    random = torch.rand(2, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    return (random < torch.tensor([0.1, 0.4]).view(2, 1, 1, 1)).float()


@pytest.fixture
def contours() -> np.ndarray:
    return np.random.default_rng(0).random((24, 31))


def maps(count: int, height: int, width: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(count, c, -(-height // s), -(-width // s), generator=draw)
            for c, s in zip(WIDTHS, STRIDES)]


def test_loss_at_zero_logits_and_its_balance(osvos: dict, masks: torch.Tensor) -> None:
    for mask in masks[:, None]:
        flat = torch.zeros_like(mask, requires_grad=True)
        loss = osvos["balanced_loss"](flat, mask, "sum")
        loss.backward()
        inside, count = mask.sum(), mask.numel()
        assert torch.isclose(loss, 2 * np.log(2) * inside * (count - inside) / count)
        assert flat.grad.sum().abs() < 1e-4 < flat.grad.abs().sum()


def test_gradient_of_each_pixel(osvos: dict, masks: torch.Tensor) -> None:
    """beta (p - 1) in the mask, (1 - beta) p outside, beta of each image by itself."""
    torch.manual_seed(0)
    logits = torch.randn(masks.shape, requires_grad=True)
    osvos["balanced_loss"](logits, masks, "sum").backward()
    p, beta = torch.sigmoid(logits), 1 - masks.mean((1, 2, 3), keepdim=True)
    expected = torch.where(masks > 0.5, beta * (p - 1), (1 - beta) * p)
    assert torch.allclose(logits.grad, expected, atol=1e-6)
    assert (beta[0] - beta[1]).abs() > 0.1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_is_that_of_the_package(osvos: dict, masks: torch.Tensor,
                                     reduction: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(masks.shape)
    assert torch.equal(osvos["balanced_loss"](logits, masks, reduction),
                       losses.balanced(logits, masks, reduction))


def test_sum_is_mean_times_pixels_and_half_of_bce_at_even_areas(osvos: dict) -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    summed = osvos["balanced_loss"](logits, mask, "sum")
    assert torch.isclose(summed, 64 * osvos["balanced_loss"](logits, mask))
    plain = F.binary_cross_entropy_with_logits(logits, mask, reduction="sum")
    assert torch.isclose(summed, plain / 2)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_enlargement_is_bilinear_and_fixed(osvos: dict, factor: int) -> None:
    torch.manual_seed(0)
    grow, x = osvos["Enlarge"](3, factor), torch.randn(1, 3, 7, 6)
    size = (7 * factor, 6 * factor)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    expected = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    assert torch.allclose(grow(x, size)[inside], expected[inside], atol=1e-5)
    off_diagonal = grow.weight[~torch.eye(3, dtype=torch.bool)]
    assert off_diagonal.abs().max() == 0 and not grow.weight.requires_grad
    assert metrics.parameters(grow) == 0


@pytest.mark.parametrize("size", [(61, 47), (64, 64), (17, 40)])
def test_output_has_the_size_of_the_input(net: nn.Module, size: tuple) -> None:
    with torch.no_grad():
        mask, sides = net(maps(2, *size), size, deep=True)
    assert mask.shape == (2, 1, *size) and [s.shape for s in sides] == 4 * [mask.shape]


@pytest.mark.parametrize("size", [(61, 47), (32, 64)])
def test_sum_of_scores_is_the_published_fusion(osvos: dict, net: nn.Module,
                                               size: tuple) -> None:
    """Enlarge every channel, concatenate, one 1x1 convolution: the same logits."""
    with torch.no_grad():
        shares, sides = net.shares(maps(2, *size), size)
        large = [osvos["Enlarge"](8, s)(x, size) for s, x in zip(STRIDES, sides)]
        published = net.fuse(torch.cat(large, dim=1))
        assert torch.allclose(published, sum(shares) + net.fuse.bias, atol=1e-5)
        assert torch.equal(net(maps(2, *size), size), sum(shares) + net.fuse.bias)


def test_published_network(osvos: dict) -> None:
    net = osvos["paper_scale"]()
    head = {name: metrics.parameters(part) for name, part in net["head"].named_children()}
    assert head == {"sides": 202_816, "scores": 68, "fuse": 65, "enlarge": 0}
    assert metrics.parameters(net["trunk"]) == 14_714_688
    assert metrics.parameters(net) == 14_917_637
    kernels = sum(p.numel() for p in net["head"].enlarge.parameters())
    assert kernels == 1_360 and 14_917_637 + kernels + 256 * kernels == 15_267_157
    taps = net["trunk"](torch.empty(1, 3, 61, 47, device="meta"))[1:]
    assert net["head"](taps, (61, 47)).shape == (1, 1, 61, 47)


def test_frames_are_independent(net: nn.Module) -> None:
    frames, order = maps(5, 32, 32), torch.tensor([3, 0, 4, 1, 2])
    changed = [m.clone() for m in frames]
    for m in changed:
        m[0] += 1
    with torch.no_grad():
        found, moved, again = (net(m, (32, 32)) for m in (
            frames, [m[order] for m in frames], changed))
    assert torch.allclose(moved, found[order], atol=1e-5)
    assert torch.allclose(again[1:], found[1:], atol=1e-5)
    assert not torch.allclose(again[0], found[0], atol=1e-3)


def test_online_step_moves_only_what_the_fused_loss_sees(osvos: dict,
                                                         net: nn.Module) -> None:
    mask = (torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.2)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    step = torch.optim.Adam(net.parameters())
    osvos["balanced_loss"](net(maps(2, 32, 32), (32, 32)), mask.float()).backward()
    step.step()
    same = {name for name, p in net.named_parameters() if torch.equal(p, before[name])}
    assert same == {name for name in before if name.startswith(("enlarge", "scores"))}


def test_votes(osvos: dict, contours: np.ndarray) -> None:
    snap, regions = osvos["snap"], osvos["superpixels"](contours, 0.6)
    mask = contours > 0.7
    assert (snap(mask, np.arange(mask.size).reshape(mask.shape)) == mask).all()
    assert not snap(mask, np.zeros_like(regions)).any()
    assert snap(~mask, np.zeros_like(regions)).all()
    once = snap(mask, regions)
    assert (snap(once, regions) == once).all() and (once != mask).any()


def test_votes_restore_a_mask_made_of_superpixels(osvos: dict, contours: np.ndarray) -> None:
    regions = osvos["superpixels"](contours, 0.5)
    truth = (np.random.default_rng(1).random(regions.max() + 1) < 0.5)[regions]
    noisy = truth.copy()
    for k in range(regions.max() + 1):  # fewer than half of each region is flipped
        where = np.flatnonzero(regions == k)
        noisy.flat[where[:(len(where) - 1) // 2]] ^= True
    assert (noisy != truth).mean() > 0.1
    assert (osvos["snap"](noisy, regions) == truth).all()


def test_a_tie_is_background(osvos: dict) -> None:
    mask = np.array([[True, False], [True, True]])
    regions = np.array([[0, 0], [1, 1]])
    assert osvos["snap"](mask, regions).tolist() == [[False, False], [True, True]]


def test_thresholds_nest_down_to_one_region(osvos: dict, contours: np.ndarray) -> None:
    cuts = [osvos["superpixels"](contours, t) for t in (0.0, 0.4, 0.6, 0.7, 0.8, 1.0)]
    counts = [regions.max() + 1 for regions in cuts]
    assert counts == sorted(counts, reverse=True) and counts[0] > 20
    assert len(set(counts)) > 3 and counts[-1] == 1
    for fine, coarse in zip(cuts, cuts[1:]):
        assert all(np.unique(coarse[fine == k]).size == 1 for k in range(fine.max() + 1))


def test_superpixels_follow_a_closed_contour(osvos: dict) -> None:
    wall = np.zeros((21, 21))
    wall[5:16, [5, 15]] = wall[[5, 15], 5:16] = 0.9
    regions = osvos["superpixels"](wall, 0.5)
    assert regions[10, 10] != regions[0, 0] and regions[0, 0] == regions[20, 20]
    assert osvos["superpixels"](wall, 0.95).max() == 0
