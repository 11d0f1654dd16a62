"""Classification with an Edge: the chapter's cells tagged `model`, executed and tested."""

import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import imagenet, metrics

CHANNELS = imagenet.CHANNELS[:4]


@pytest.fixture(scope="module")
def edge() -> dict:
    return tagged.namespace("edge-classification", seed=0)


def taps(side: int, count: int = 2) -> list[Tensor]:
    """What the trunk gives for pictures of twice that side, filled with noise."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(count, channels, -(-2 * side // stride), -(-2 * side // stride),
                        generator=draw)
            for channels, stride in zip(CHANNELS, imagenet.STRIDES)]


def heights(side: int, count: int = 2) -> Tensor:
    return torch.randn(count, 2, side, side, generator=torch.Generator().manual_seed(1))


def boundary_net(edge: dict) -> nn.Module:
    torch.manual_seed(0)
    return edge["BoundaryNet"](CHANNELS, width=12, **edge["STREAM"]).eval()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5])
def test_a_line_is_thickened_by_the_diamond(edge: dict, radius: int) -> None:
    halves = torch.zeros(1, 24, 30, dtype=torch.long)
    halves[:, 12:] = 3
    assert (edge["boundary_target"](halves, radius)[0, 0].sum(0) == 2 * radius + 1).all()
    dot = torch.zeros(1, 31, 31, dtype=torch.long)
    dot[0, 0, 0] = 1  # in the corner the mark lies on the pixel itself
    got = edge["boundary_target"](dot, radius)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(31), torch.arange(31), indexing="ij")
    assert torch.equal(got > 0, rows + columns <= radius)


def test_even_labels_have_no_boundary(edge: dict) -> None:
    assert edge["boundary_target"](torch.full((2, 9, 9), 4), 2).sum() == 0


def test_boundary_loss_is_the_sum_of_squared_errors(edge: dict) -> None:
    target = (torch.arange(16.0).view(1, 1, 4, 4) % 4 == 0).float()  # a quarter
    sides, fused = torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4)
    loss = edge["boundary_loss"](sides, fused, target)
    assert loss.item() == pytest.approx(3 * 0.25 + 0.75)


def test_the_best_constant_is_the_share_of_boundaries(edge: dict) -> None:
    target = (torch.arange(100.0).view(1, 1, 10, 10) < 5).float()
    costs = [edge["boundary_loss"](target, torch.full_like(target, c), target).item()
             for c in (0.0, 0.05, 0.10)]
    assert costs[1] == min(costs) == pytest.approx(0.05 * 0.95)


@pytest.mark.parametrize("side", [40, 24])
def test_shapes(edge: dict, side: int) -> None:
    sides, fused = boundary_net(edge)(taps(side), heights(side))
    assert sides.shape == (2, 4, side, side) and fused.shape == (2, 1, side, side)
    for skips in (False, True):
        segmenter = edge["Segmenter"](12, skips).eval()
        assert segmenter(taps(side), heights(side), fused).shape == (2, 5, side, side)


def test_every_side_reads_both_streams(edge: dict) -> None:
    net = boundary_net(edge)
    with torch.no_grad():
        before = net(taps(24), heights(24))[0]
        given = taps(24)
        given[1] = given[1] + 1
        changed = (net(given, heights(24))[0] != before).flatten(2).any(2)[0]
        assert changed.tolist() == [False, True, False, False]
        moved = (net(taps(24), heights(24) + 1)[0] != before).flatten(2).any(2)[0]
    assert moved.all()


def test_without_skips_the_fine_taps_are_not_seen(edge: dict) -> None:
    torch.manual_seed(0)
    blank = torch.zeros(2, 1, 24, 24)
    other = [tap + 1 for tap in taps(24)[:3]] + taps(24)[3:]
    for skips in (False, True):
        segmenter = edge["Segmenter"](12, skips).eval()
        same = torch.equal(segmenter(taps(24), heights(24), blank),
                           segmenter(other, heights(24), blank))
        assert same != skips


def test_weights_of_zero_hide_the_channel_and_still_learn(edge: dict) -> None:
    torch.manual_seed(0)
    segmenter = edge["Segmenter"](12).eval()
    weight = segmenter.mix[0][0].weight
    nn.init.zeros_(weight.data[:, :1])
    loud = torch.randn(2, 1, 24, 24)
    answer = segmenter(taps(24), heights(24), loud)
    assert torch.equal(answer, segmenter(taps(24), heights(24), torch.zeros_like(loud)))
    answer.square().mean().backward()
    assert weight.grad[:, :1].abs().max() > 0


def test_published_network(edge: dict) -> None:
    parts = edge["paper_scale"]()
    net = parts["net"]
    assert metrics.parameters(parts) == 29_431_755
    assert metrics.parameters(net.sides) == sum(2 * c + 1 for c in (64, 128, 256, 512, 512))
    assert metrics.parameters(net.fuse) == 6
    taps = parts["colour"](torch.empty(1, 3, 64, 64, device="meta"))
    sides, fused = net(taps, torch.empty(1, 2, 64, 64, device="meta"))
    assert sides.shape == (1, 5, 64, 64) and fused.shape == (1, 1, 64, 64)
