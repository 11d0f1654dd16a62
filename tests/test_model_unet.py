"""U-Net: the cells tagged `model` of the chapter, executed and tested."""

import numpy as np
import pytest
import torch
from torch import nn

import tagged
from utils import blocks, metrics


@pytest.fixture(scope="module")
def unet() -> dict:
    return tagged.namespace("unet", seed=0)


def strip(gap: int) -> np.ndarray:
    """Two cells beside each other, `gap` columns apart."""
    return np.tile(np.repeat([1, 0, 2], [20, gap, 20]), (7, 1))


@pytest.mark.parametrize("gap, border", [(1, 10 * np.exp(-4 / 50)), (9, 10 * np.exp(-2))])
def test_border_term_in_a_gap(unet: dict, gap: int, border: float) -> None:
    _, term = unet["weight_map"](strip(gap), share=0.5)
    assert term[3, 20:20 + gap] == pytest.approx(border)  # d1 + d2 is the same across
    assert term.max() <= 10 and term[3, 0] < 0.1


def test_single_cell_has_no_border_and_balance_evens_out(unet: dict) -> None:
    cells = np.zeros((10, 10), int)
    cells[:2] = 1
    balance, term = unet["weight_map"](cells, share=cells.astype(bool).mean())
    assert not term.any()
    assert balance[cells > 0].sum() == pytest.approx(balance[cells == 0].sum())


def test_weighted_loss_is_the_weighted_mean_of_minus_log_p(unet: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, 4, generator=generator)
    label = torch.randint(3, (2, 4, 4), generator=generator)
    weight = torch.rand(2, 4, 4, generator=generator)
    p = scores.softmax(1).gather(1, label[:, None])[:, 0]
    ours = unet["weighted_loss"](scores, label, weight)
    assert ours.item() == pytest.approx(float(-(weight * p.log()).sum() / weight.sum()),
                                        rel=1e-5)
    assert unet["weighted_loss"](scores, label, 7 * weight).item() == pytest.approx(
        ours.item(), rel=1e-5)


def test_crop_takes_the_middle(unet: dict) -> None:
    skip = torch.arange(36.0).view(1, 1, 6, 6)
    like = torch.zeros(1, 1, 2, 2)
    cropped = unet["Crop"]()(skip, like)
    assert cropped[0, 0].tolist() == [[14, 15], [20, 21]]
    joined = unet["join"](like, cropped)  # the decoder's map first, then the skip
    assert not joined[0, 0].any() and torch.equal(joined[:, 1:], cropped)


def test_elastic_moves_image_and_label_alike(unet: dict) -> None:
    """On a ramp of column numbers, nearest and bilinear sampling differ by <= 1/2."""
    label = torch.arange(32).expand(2, 32, 32)
    image = label[:, None].float()
    generator = torch.Generator().manual_seed(1)
    bent_image, bent_label = unet["elastic"](generator, image, label)
    assert bent_label.dtype == label.dtype and torch.isin(bent_label, label).all()
    assert (bent_image[:, 0] - bent_label).abs().max() <= 0.5 + 1e-3
    assert (bent_label - label).abs().max() >= 2
    still, = unet["elastic"](generator, image, strength=0.0)
    assert torch.allclose(still, image, atol=1e-3)


def test_initial_deviation_follows_the_fan_in(unet: dict) -> None:
    torch.manual_seed(0)
    conv, up = nn.Conv2d(64, 64, 3), nn.ConvTranspose2d(64, 32, 2, 2)
    for layer, fan in ((conv, 576), (up, 64)):
        unet["he_init"](layer)
        assert layer.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.05)
        assert not layer.bias.any()


def test_arms_have_what_the_text_says(unet: dict) -> None:
    nets = {name: unet["build"](**options) for name, options in unet["ARMS"].items()}
    weights = {name: metrics.parameters(net) for name, net in nets.items()}
    assert weights["no map"] == weights["U-Net"] > weights["no skips"] > weights["shallow"]
    assert round(weights["U-Net"] / weights["shallow"]) == 18
    deepest = weights["U-Net"] - metrics.parameters(unet["build"](levels=4))
    assert 0.74 < deepest / weights["U-Net"] < 0.76
    work = {name: metrics.multiply_adds(net, 1, 96, 96) for name, net in nets.items()}
    assert work["shallow"] < work["U-Net"] / 2
    assert [len(net.up) for net in nets.values()] == [4, 4, 3, 2]
    first = [next(nets[name].parameters()) for name in ("U-Net", "no map")]
    assert torch.equal(*first)


@pytest.mark.parametrize("poolings, pixels", [(2, 32), (4, 140)])
def test_bottom_sees_as_far_as_the_text_says(poolings: int, pixels: int) -> None:
    level = [(3, 1), (3, 1), (2, 2)]
    assert blocks.receptive_field(level * poolings + [(3, 1)] * 2) == pixels


@pytest.mark.parametrize("tile", [188, 204, 572])
def test_published_network_and_its_tile_law(unet: dict, tile: int) -> None:
    model = unet["paper_scale"]()
    assert metrics.parameters(model) == 31_030_658
    assert not [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))]
    out = model(torch.empty(1, 1, tile, tile, device="meta"))
    assert out.shape == (1, 2, tile - 184, tile - 184)


def test_shift_by_sixteen_and_by_one(unet: dict) -> None:
    """A valid U-Net of four poolings commutes with shifts by 16 pixels only."""
    torch.manual_seed(0)
    net = unet["UNet"]([2, 2, 2, 2, 2], padding=0, norm=None).eval()
    picture = torch.rand(1, 1, 236, 236)
    with torch.no_grad():
        whole = net(picture)  # (1, 2, 52, 52)
        by16 = net(picture[..., 16:220, 16:220])  # (1, 2, 20, 20)
        by1 = net(picture[..., 1:205, 1:205])
    assert torch.allclose(by16, whole[..., 16:36, 16:36], atol=1e-6)
    assert not torch.allclose(by1, whole[..., 1:21, 1:21], atol=1e-6)
