"""SSTD: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import blocks, metrics

CHANNELS = (24, 40, 112)


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("sstd", seed=0)


def taps(n: int = 2, size: int = 96) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, c, size // s, size // s, generator=generator)
            for c, s in zip(CHANNELS, (4, 8, 16))]


def net(chapter: dict, **options) -> nn.Module:
    torch.manual_seed(0)
    return chapter["SSTD"](CHANNELS, 16, **options).eval()


def test_text_is_the_second_channel_and_a_sigmoid_of_the_difference(chapter: dict) -> None:
    z = torch.tensor([[-3.0, 1.0], [2.0, 1.0]])[:, :, None, None]
    alpha = chapter["text_probability"](z)
    assert alpha.shape == (2, 1, 1, 1)
    assert torch.allclose(alpha.flatten(), torch.sigmoid(torch.tensor([4.0, -1.0])))


def test_mask_loss_has_the_gradient_alpha_minus_mask(chapter: dict) -> None:
    z = torch.randn(2, 2, 5, 7, requires_grad=True)
    mask = torch.rand(2, 1, 5, 7)
    loss = chapter["mask_loss"](z, mask)
    difference = z[:, 1:] - z[:, :1]
    assert torch.allclose(loss, F.binary_cross_entropy_with_logits(difference, mask))
    loss.backward()
    expected = (chapter["text_probability"](z) - mask).detach() / mask.numel()
    assert torch.allclose(z.grad[:, 1:], expected, atol=1e-7)
    assert torch.allclose(z.grad[:, :1], -expected, atol=1e-7)


def test_inception_keeps_the_size_and_joins_four_branches(chapter: dict) -> None:
    block, x = chapter["HIM"](5, 8).eval(), torch.randn(2, 5, 13, 9)
    assert block(x).shape == (2, 8, 13, 9)
    parts = [branch(x) for branch in block.branches]
    assert [part.shape[1] for part in parts] == [2] * 4
    assert torch.equal(block(x), torch.cat(parts, 1))


@pytest.mark.parametrize("spread, side", [(1, 5), (2, 9)])
def test_the_long_kernels_see_a_square(chapter: dict, spread: int, side: int) -> None:
    line = chapter["HIM"](1, 4, spread).eval().branches[3]
    for part in line:
        part[0].weight.data.fill_(1.0)
    x = torch.zeros(1, 1, 21, 21, requires_grad=True)
    line(x + 1)[0, 0, 10, 10].backward()
    rows, columns = (x.grad[0, 0] != 0).nonzero().T
    assert len(rows) == 25
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == side


def test_levels_are_summed(chapter: dict) -> None:
    model, given = net(chapter), taps()
    fine, middle, coarse = (him(tap) for him, tap in zip(model.him, given))
    first, second = model.aggregate(given)
    assert torch.allclose(first, fine + blocks.upsample(middle, (24, 24)))
    assert torch.allclose(second, F.max_pool2d(fine, 3, 2, 1) + middle
                          + blocks.upsample(coarse, (12, 12)))


def test_gate_multiplies_every_channel_alike(chapter: dict) -> None:
    maps, z, alpha, gated = net(chapter).attend(taps())
    assert torch.allclose(gated[0], maps[0] * alpha)
    assert torch.allclose(gated[1], maps[1] * F.avg_pool2d(alpha, 2))
    assert alpha.shape == (2, 1, 24, 24) and ((alpha > 0) & (alpha < 1)).all()


def test_an_open_gate_is_no_gate(chapter: dict) -> None:
    gated, free = net(chapter), net(chapter, gated=False)
    for a, b in zip(gated(taps(), g=0.0), free(taps())):
        assert torch.equal(a, b)
    assert not torch.allclose(gated(taps())[0], free(taps())[0])


def test_a_shut_gate_gives_one_answer_away_from_the_border(chapter: dict) -> None:
    model = net(chapter)
    shut = {"tam": lambda z: z * 0 + torch.tensor([60.0, -60.0]).view(2, 1, 1)}
    with blocks.rewire(model, shut):
        scores, offsets, _ = model(taps())
    for rows in (scores[0, :24 * 24 * 4], offsets[0, :24 * 24 * 4]):
        inner = rows.reshape(24, 24, -1)[4:-4, 4:-4]
        assert torch.allclose(inner, inner[:1, :1].expand_as(inner), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"gated": False}, {"norm": None}])
def test_shapes_order_and_equal_weights(chapter: dict, options: dict) -> None:
    model = net(chapter, **options)
    scores, offsets, z = model(taps())
    assert scores.shape == (2, 4 * (24**2 + 12**2), 2)
    assert offsets.shape == (2, 4 * (24**2 + 12**2), 4) and z.shape == (2, 2, 24, 24)
    _, _, _, gated = model.attend(taps())
    head = model.what[0](model.after[0](gated[0]))              # (2, 8, 24, 24)
    row, column, shape = 5, 7, 3
    expected = head[1, 2 * shape:2 * shape + 2, row, column]
    assert torch.allclose(scores[1, (row * 24 + column) * 4 + shape], expected, atol=1e-6)
    if "norm" not in options:
        assert metrics.parameters(model) == metrics.parameters(net(chapter))


def test_paper_scale(chapter: dict) -> None:
    parts = {name: metrics.parameters(part) for name, part in chapter["paper_scale"]().items()}
    assert parts == {
        "VGG-16": 14_714_688, "fc6, fc7": 4_719_616 + 1_049_600,
        "inception": 607_488 + 1_131_776 + 2_180_352, "upsampling": 196_608,
        "attention": 2_491_470, "later levels": 10_113_408, "after the gate": 7_080_960,
        "residual blocks": 7_820_288, "predictors": 9_872_478}
    assert sum(parts.values()) + 512 == 61_979_244
