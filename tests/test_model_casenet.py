"""CASENet: the cells tagged `model` of the chapter, executed and tested."""

import math

import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import imagenet, losses, metrics

CHANNELS = imagenet.CHANNELS[:4]
SIZES = (48, 24, 12, 12)  # of the taps of a 96-pixel picture, the last one dilated


@pytest.fixture(scope="module")
def casenet() -> dict:
    return tagged.namespace("casenet", seed=0)


def taps(count: int = 2) -> list[Tensor]:
    """What the trunk gives for pictures of 96 pixels, filled with noise."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, channels, size, size, generator=generator)
            for channels, size in zip(CHANNELS, SIZES)]


def heads(casenet: dict, maps: int = 1, classes: int = 5, width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return casenet["Heads"](CHANNELS, classes, maps, width)


@pytest.mark.parametrize("radius, neighbours", [(1, 5), (2, 13), (3, 29), (4, 49)])
def test_one_pixel_marks_the_disc_around_it(casenet: dict, radius: int,
                                            neighbours: int) -> None:
    labels = torch.zeros(1, 15, 15, dtype=torch.long)
    labels[0, 7, 7] = 1
    edges = casenet["seg2edge"](labels, [1, 2], radius)
    assert edges.shape == (1, 2, 15, 15)
    assert edges[0, 0].sum() == neighbours and edges[0, 1].sum() == 0


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_a_straight_boundary_is_a_band_of_twice_the_radius(casenet: dict,
                                                           radius: int) -> None:
    """In the channels of both categories, half inside and half outside."""
    labels = torch.ones(1, 12, 20, dtype=torch.long)
    labels[..., 10:] = 2
    edges = casenet["seg2edge"](labels, [1, 2], radius)
    band = torch.zeros(20)
    band[10 - radius:10 + radius] = 1
    assert torch.equal(edges, band.expand(1, 2, 12, 20))


def test_with_one_category_the_loss_is_that_of_hed(casenet: dict) -> None:
    generator = torch.Generator().manual_seed(1)
    edges = (torch.rand(3, 1, 9, 9, generator=generator) < 0.2).float()
    logits = torch.randn(3, 1, 9, 9, generator=generator)
    loss = casenet["multilabel_loss"](logits, edges, torch.ones_like(edges))
    assert torch.isclose(loss, losses.balanced(logits, edges))


def test_beta_counts_edges_of_any_category_once(casenet: dict) -> None:
    edges = torch.zeros(1, 2, 10, 10)
    edges[0, :, 0, :5] = 1  # five pixels with two names
    edges[0, 0, 1, :5] = 1  # five with one: ten edge pixels of a hundred
    loss = casenet["multilabel_loss"](torch.zeros_like(edges), edges,
                                      torch.ones(1, 1, 10, 10))
    assert loss.item() == pytest.approx(math.log(2) * (0.9 * 15 + 0.1 * 185) / 100, rel=1e-5)


def test_unknown_pixels_cost_nothing(casenet: dict) -> None:
    edges = (torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    known = torch.ones(1, 1, 8, 8)
    known[..., :3] = 0
    edges = edges * known
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    casenet["multilabel_loss"](logits, edges, known).backward()
    assert logits.grad[..., :3].abs().max() == 0 and logits.grad[..., 3:].abs().min() > 0


def test_order_of_the_shared_concatenation(casenet: dict) -> None:
    named = torch.arange(3.0).view(1, 3, 1, 1)
    sides = [torch.full((1, 1, 1, 1), 10.0 * m) for m in (1, 2)]
    joined = casenet["concatenation"](named, sides)
    assert joined.flatten().tolist() == [0, 10, 20, 1, 10, 20, 2, 10, 20]


def test_order_of_the_sliced_concatenation(casenet: dict) -> None:
    named = torch.arange(2.0).view(1, 2, 1, 1)
    joined = casenet["concatenation"](named, [named + 10, named + 20])
    assert joined.flatten().tolist() == [0, 10, 20, 1, 11, 21]


@pytest.mark.parametrize("maps, channels", [(0, None), (1, 1), (5, 5)])
def test_shapes(casenet: dict, maps: int, channels: int | None) -> None:
    named, sides, fused = heads(casenet, maps)(taps(), (61, 47))
    assert named.shape == fused.shape == (2, 5, 61, 47)
    assert [side.shape[1] for side in sides] == ([channels] * 3 if channels else [])
    assert maps or fused is named


@pytest.mark.parametrize("maps", [1, 5])
def test_a_category_moves_its_own_fused_map_only(casenet: dict, maps: int) -> None:
    model = heads(casenet, maps)
    nn.init.normal_(model.fuse.weight)
    named, sides, fused = model(taps(1), (12, 12))
    changed = named.clone()
    changed[:, 2] += 1
    after = model.fuse(casenet["concatenation"](changed, sides))
    assert (after != fused).flatten(2).any(2)[0].tolist() == [False, False, True, False, False]


def test_fusion_starts_as_the_mean(casenet: dict) -> None:
    named, sides, fused = heads(casenet)(taps(1), (12, 12))
    assert torch.allclose(fused, (named + sum(sides)) / 4, atol=1e-5)


def test_only_the_fused_loss_teaches_the_shared_maps(casenet: dict) -> None:
    model = heads(casenet)
    named, _, fused = model(taps(1), (12, 12))
    named.square().sum().backward(retain_graph=True)
    assert all(p.grad is None for p in model.sides.parameters())
    fused.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in model.sides.parameters())


def test_published_network(casenet: dict) -> None:
    parts = casenet["paper_scale"]()
    norms = sum(metrics.parameters(layer) for layer in parts["trunk"].modules()
                if isinstance(layer, nn.BatchNorm2d))
    assert norms == 105_344
    assert metrics.parameters(parts["trunk"]) + 41_915 == 42_436_731 + norms
    sides = [metrics.parameters(side) for side in parts["heads"].sides]
    assert sides == [65, 257, 513]
    assert metrics.parameters(parts["heads"].named) == 40_980
    assert metrics.parameters(parts["heads"].fuse) == 4 * 20 + 20
    assert metrics.parameters(parts["DSN"]) == 78_300
    stages = parts["trunk"](torch.empty(1, 3, 352, 352, device="meta"))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (64, 352, 352), (256, 176, 176), (512, 88, 88), (1024, 44, 44), (2048, 44, 44)]
    named, sides, fused = parts["heads"]([stages[i] for i in (0, 1, 2, 4)], (352, 352))
    assert fused.shape == named.shape == (1, 20, 352, 352) and len(sides) == 3
