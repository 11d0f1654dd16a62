"""OSVOS: the cells tagged `model` of the chapter, executed and tested."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import metrics, train


@pytest.fixture(scope="module")
def osvos() -> dict:
    return tagged.namespace("osvos", seed=0)


@pytest.fixture
def masks() -> torch.Tensor:
    random = torch.rand(2, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    return (random < torch.tensor([0.1, 0.4]).view(2, 1, 1, 1)).float()


@pytest.fixture
def contours() -> np.ndarray:
    return np.random.default_rng(0).random((24, 31))


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
def test_output_has_the_size_of_the_input(osvos: dict, size: tuple) -> None:
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        mask, sides = osvos["build"]()(image, with_sides=True)
    assert mask.shape == (1, 1, *size) and sides.shape == (1, 3, *size)


def test_published_network(osvos: dict) -> None:
    net = osvos["paper_scale"]()
    counts = {name: metrics.parameters(part) for name, part in net.named_children()}
    assert counts == {"trunk": 14_714_688, "sides": 202_816, "enlarge": 0, "scores": 68,
                      "enlarge_scores": 0, "fuse": 65}
    assert sum(p.numel() for p in net.parameters()) == 15_267_157
    kernels = [sum(p.numel() for p in part.parameters())
               for part in (net.enlarge_scores, net.enlarge)]
    assert kernels == [1_360, 348_160]
    assert net(torch.empty(1, 3, 61, 47, device="meta")).shape == (1, 1, 61, 47)


def test_frames_are_independent(osvos: dict) -> None:
    net, frames = osvos["build"](), torch.rand(5, 3, 32, 32)
    order = torch.tensor([3, 0, 4, 1, 2])
    found = train.predict(net, frames)
    assert torch.allclose(train.predict(net, frames[order]), found[order], atol=1e-5)
    changed = frames.clone()
    changed[0] = 1 - changed[0]
    again = train.predict(net, changed)
    assert torch.allclose(again[1:], found[1:], atol=1e-5)
    assert not torch.allclose(again[0], found[0], atol=1e-3)


def test_online_step_moves_only_what_the_fused_loss_sees(osvos: dict) -> None:
    torch.manual_seed(0)
    net, image = osvos["build"](), torch.rand(2, 3, 32, 32)
    mask = (torch.rand(2, 1, 32, 32) < 0.2).float()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    step = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    osvos["balanced_loss"](net(image), mask).backward()
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


def test_trunk_is_the_seeds(osvos: dict) -> None:
    one, two = osvos["build"](), osvos["build"]()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in one.modules())
