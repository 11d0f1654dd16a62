"""DSS: the cells tagged `model` of the chapter, executed and tested."""

import copy

import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import blocks, imagenet, metrics

CHANNELS = imagenet.CHANNELS[:4]
SOURCES = {1: (3, 4), 2: (3, 4)}


@pytest.fixture(scope="module")
def dss() -> dict:
    return tagged.namespace("dss", seed=0)


def taps(height: int, width: int, count: int = 2) -> list[Tensor]:
    """What a trunk gives for pictures of that size, filled with noise."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, channels, -(-height // stride), -(-width // stride),
                        generator=generator)
            for channels, stride in zip(CHANNELS, imagenet.STRIDES)]


def model_of(dss: dict, sources: dict) -> nn.Module:
    torch.manual_seed(0)
    return dss["DSS"]([dss["head"](c, 8) for c in CHANNELS], sources)


def stirred(dss: dict, sources: dict = SOURCES) -> nn.Module:
    """A network whose connections are no longer the identity."""
    model = model_of(dss, sources)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in (*model.mix.parameters(), *model.fuse.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


@pytest.mark.parametrize("height, width", [(96, 96), (61, 47), (16, 80)])
def test_all_maps_have_the_size_of_the_picture(dss: dict, height: int, width: int) -> None:
    sides, fused = stirred(dss)(taps(height, width), (height, width))
    assert sides.shape == (2, 4, height, width) and fused.shape == (2, 1, height, width)


def test_connections_start_as_the_identity(dss: dict) -> None:
    given = taps(32, 48)
    joined, alone = (model_of(dss, sources) for sources in (SOURCES, {}))
    for a, b in zip(joined(given, (32, 48)), alone(given, (32, 48))):
        assert torch.equal(a, b)
    assert metrics.parameters(joined) - metrics.parameters(alone) == 8


def test_a_side_hears_its_sources_and_no_other(dss: dict) -> None:
    """Which sides change when the scores of one tap do."""
    model, given = stirred(dss), taps(32, 32, 1)
    with torch.no_grad():
        before = model(given, (32, 32))[0]
        for tap, expected in ((0, [1, 0, 0, 0]), (1, [0, 1, 0, 0]), (2, [1, 1, 1, 0]),
                              (3, [1, 1, 0, 1])):
            changed = [*given]
            changed[tap] = given[tap] + 1
            moved = (model(changed, (32, 32))[0] != before).flatten(2).any(2)[0]
            assert moved.int().tolist() == expected


def test_deep_sides_listen_before_they_are_heard(dss: dict) -> None:
    """With 2 from 4 and 1 from 2, side 1 hears side 4 although it is not connected."""
    model, given = stirred(dss, {1: (2,), 2: (4,)}), taps(32, 32, 1)
    with torch.no_grad():
        before = model(given, (32, 32))[0]
        given[3] = given[3] + 1
        moved = (model(given, (32, 32))[0] != before).flatten(2).any(2)[0]
    assert moved.tolist() == [True, True, False, True]


def test_listen_is_a_weighted_sum(dss: dict) -> None:
    mix = nn.Conv2d(3, 1, kernel_size=1)
    own, third, fourth = (torch.randn(1, 1, side, side) for side in (8, 4, 2))
    w = mix.weight.flatten()
    expected = (w[0] * own + w[1] * blocks.upsample(third, (8, 8))
                + w[2] * blocks.upsample(fourth, (8, 8)) + mix.bias)
    assert torch.allclose(dss["listen"](own, [third, fourth], mix), expected, atol=1e-6)


def test_the_fused_map_folds_into_one_without_connections(dss: dict) -> None:
    """Exactly so where nothing is enlarged: all maps of one size."""
    model = stirred(dss)
    own = [torch.randn(1, 1, 9, 9) for _ in range(4)]
    plain = copy.deepcopy(model)
    plain.sources = {}
    h, b = model.fuse.weight.detach().flatten(), model.fuse.bias.detach().clone()
    with torch.no_grad():
        for m in (1, 2):
            w = model.mix[str(m)].weight.flatten()
            for i, k in zip(SOURCES[m], w[1:]):
                plain.fuse.weight[0, i - 1] += h[m - 1] * k
            plain.fuse.weight[0, m - 1] = h[m - 1] * w[0]
            b += h[m - 1] * model.mix[str(m)].bias
        plain.fuse.bias.copy_(b)
        expected = model.connect(own, (9, 9))[1]
        assert torch.allclose(plain.connect(own, (9, 9))[1], expected, atol=1e-5)


def test_the_loss_of_side_1_reaches_deep_heads_through_connections_only(dss: dict) -> None:
    for model, expected in ((stirred(dss), [True, False, True, True]),
                            (model_of(dss, {}), [True, False, False, False])):
        model(taps(32, 32), (32, 32))[0][:, 0].sum().backward()
        reached = [any(w.grad is not None and bool(w.grad.abs().max() > 0)
                       for w in head.parameters()) for head in model.heads]
        assert reached == expected


def test_windows_of_the_first_figure() -> None:
    """Its 15, 35 and 99 pixels are what the first three sides see of a picture."""
    layers, seen = [(3, 2)], []
    for number, (depth, _, _, kernel, stride) in enumerate(imagenet.PLAN[:3]):
        layers += [(kernel, stride)] + [(kernel, 1)] * (depth - 1)
        seen.append(blocks.receptive_field([*layers, (3, 1), (3, 1)]))
    assert imagenet.TAPS[:3] == (0, 1, 2) and seen == [15, 35, 99]


def test_published_network(dss: dict) -> None:
    parts = dss["paper_scale"]()
    assert metrics.parameters(parts) == 62_225_505
    sides = parts["sides"]
    assert metrics.parameters(sides.mix) == 4 + 4 + 6 + 6
    assert metrics.parameters(sides.heads[5]) == 25_691_649
    given = [torch.empty(1, c, 224 // s, 224 // s, device="meta") for c, s in
             zip((64, 128, 256, 512, 512, 512), (1, 2, 4, 8, 16, 32))]
    maps, fused = sides(given, (224, 224))
    assert maps.shape == (1, 6, 224, 224) and fused.shape == (1, 1, 224, 224)
