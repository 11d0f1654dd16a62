"""HED: the cells tagged `model` of the chapter, executed and tested."""

import math

import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import imagenet, losses, metrics

CHANNELS = imagenet.CHANNELS[:4]


@pytest.fixture(scope="module")
def hed() -> dict:
    return tagged.namespace("hed", seed=0)


def taps(height: int, width: int, count: int = 2) -> list[Tensor]:
    """What a trunk gives for pictures of that size, filled with noise."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, channels, -(-height // stride), -(-width // stride),
                        generator=generator)
            for channels, stride in zip(CHANNELS, imagenet.STRIDES)]


def model_of(hed: dict, width: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return hed["HED"](CHANNELS, width)


def test_zero_logits_cost_what_the_formula_says(hed: dict) -> None:
    edges = torch.zeros(1, 1, 10, 10)
    edges[0, 0, 0, :7] = 1  # |Y+| = 7, |Y-| = 93
    loss = hed["balanced_loss"](torch.zeros_like(edges), edges)
    assert loss.item() == pytest.approx(2 * math.log(2) * 7 * 93 / 100 / 100, rel=1e-5)


def test_balance_is_taken_image_by_image(hed: dict) -> None:
    edges = (torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
             < torch.tensor([0.1, 0.6]).view(2, 1, 1, 1)).float()
    logits = torch.randn(2, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    both = hed["balanced_loss"](logits, edges)
    single = [hed["balanced_loss"](logits[i:i + 1], edges[i:i + 1]) for i in range(2)]
    assert both.item() == pytest.approx(float(sum(single)) / 2, rel=1e-5)
    assert torch.equal(both, losses.balanced(logits, edges))


def test_no_bias_is_pulled_at_zero_logits(hed: dict) -> None:
    """The claim of the third exercise, for each picture by itself."""
    edges = (torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.1).float()
    logits = torch.zeros_like(edges, requires_grad=True)
    hed["balanced_loss"](logits, edges).backward()
    assert logits.grad.abs().max() > 1e-4
    assert logits.grad.sum((1, 2, 3)).abs().max() < 1e-7


@pytest.mark.parametrize("height, width", [(96, 96), (61, 47), (16, 80)])
@pytest.mark.parametrize("channels", [16, 0])
def test_all_maps_have_the_size_of_the_picture(hed: dict, height: int, width: int,
                                               channels: int) -> None:
    sides, fused = model_of(hed, channels)(taps(height, width), (height, width))
    assert sides.shape == (2, 4, height, width) and fused.shape == (2, 1, height, width)


def test_equal_sides_fuse_to_themselves(hed: dict) -> None:
    agreed = torch.randn(1, 1, 5, 5).expand(1, 4, 5, 5)
    assert torch.allclose(model_of(hed).fuse(agreed), agreed[:, :1], atol=1e-6)


def test_scale_sign_and_offset_of_a_side_are_free(hed: dict) -> None:
    """Why sides mean nothing without losses of their own."""
    model, given = model_of(hed), taps(32, 32, 1)
    with torch.no_grad():
        before = model(given, (32, 32))[1]
        last, h = model.sides[1][-1], model.fuse.weight[:, 1].clone()
        last.weight.mul_(-3)
        last.bias.mul_(-3).add_(2)
        model.fuse.weight[:, 1].div_(-3)
        model.fuse.bias.add_(h.item() * 2 / 3)
        assert torch.allclose(model(given, (32, 32))[1], before, atol=1e-5)


def test_a_side_sees_its_own_tap_only(hed: dict) -> None:
    model, given = model_of(hed), taps(32, 32, 1)
    with torch.no_grad():
        before = model(given, (32, 32))[0]
        given[2] = given[2] + 1
        changed = (model(given, (32, 32))[0] != before).flatten(2).any(2)[0]
    assert changed.tolist() == [False, False, True, False]


def test_published_network(hed: dict) -> None:
    parts = hed["paper_scale"]()
    assert metrics.parameters(parts) == 14_716_171
    assert metrics.parameters(parts["heads"].sides) == 65 + 129 + 257 + 513 + 513
    assert metrics.parameters(parts["heads"].fuse) == 6
    stages = parts["trunk"](torch.empty(1, 3, 224, 320, device="meta"))
    assert [tuple(s.shape[1:]) for s in stages] == [
        (64, 224, 320), (128, 112, 160), (256, 56, 80), (512, 28, 40), (512, 14, 20)]
    sides, fused = parts["heads"](stages, (224, 320))
    assert sides.shape == (1, 5, 224, 320) and fused.shape == (1, 1, 224, 320)
    assert metrics.multiply_adds(parts["trunk"], 3, 224, 224) == pytest.approx(15.35e9,
                                                                               rel=1e-3)
