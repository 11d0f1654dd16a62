"""HED: the cells tagged `model` of the chapter, executed and tested."""

import math

import pytest
import torch

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def hed() -> dict:
    return tagged.namespace("hed", seed=0)


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


@pytest.mark.parametrize("height, width", [(64, 64), (61, 47), (16, 80)])
def test_all_maps_have_the_size_of_the_image(hed: dict, height: int, width: int) -> None:
    sides, fused = hed["build"]().eval()(torch.rand(2, 3, height, width))
    assert sides.shape == (2, 4, height, width) and fused.shape == (2, 1, height, width)


def test_equal_sides_fuse_to_themselves(hed: dict) -> None:
    model = hed["build"]()
    agreed = torch.randn(1, 1, 5, 5).expand(1, 4, 5, 5)
    assert torch.allclose(model.fuse(agreed), agreed[:, :1], atol=1e-6)


def test_scaling_a_side_against_its_weight_changes_nothing(hed: dict) -> None:
    """Why sides mean nothing without deep supervision."""
    model = hed["build"]().eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = model(image)[1]
        model.sides[1].weight.mul_(-3)
        model.sides[1].bias.mul_(-3)
        model.fuse.weight[:, 1].div_(-3)
        assert torch.allclose(model(image)[1], before, atol=1e-5)


def test_build_depends_on_the_seed_only(hed: dict) -> None:
    a, b = hed["build"](), hed["build"]()
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
    other = tagged.namespace("hed", seed=1)["build"]()
    assert not torch.equal(a.sides[0].weight, other.sides[0].weight)


def test_published_network(hed: dict) -> None:
    model = hed["paper_scale"]()
    assert metrics.parameters(model) == 14_716_171
    assert metrics.parameters(model.sides) == 65 + 129 + 257 + 513 + 513
    stages = model.trunk(torch.empty(1, 3, 224, 320, device="meta"))
    assert [tuple(s.shape[1:]) for s in stages] == [
        (64, 224, 320), (128, 112, 160), (256, 56, 80), (512, 28, 40), (512, 14, 20)]
    trunk = model.trunk
    assert metrics.multiply_adds(trunk, 3, 224, 224) == pytest.approx(15.35e9, rel=1e-3)
