"""IDK Cascades: the cells tagged `model` of the chapter, executed and tested."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import chapters, data, metrics

GATES = ("max_probability", "entropy", "margin")


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("idk-cascades", seed=0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def chances(n: int = 50, k: int = 10, seed: int = 0) -> Tensor:
    return (2 * noise(n, k, seed=seed)).softmax(1)


def test_uncertainties_by_hand(chapter: dict) -> None:
    p = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert chapter["max_probability"](p).tolist() == pytest.approx([0.5, 0.0, 2 / 3])
    assert chapter["margin"](p).tolist() == pytest.approx([0.8, 0.0, 1.0])
    known = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2))
    assert chapter["entropy"](p).tolist() == pytest.approx([known, 0.0, math.log(3)])


@pytest.mark.parametrize("gate", GATES)
def test_two_classes_make_all_gates_alike(chapter: dict, gate: str) -> None:
    p = chances(200, 2)
    assert torch.equal(chapter[gate](p).argsort(), chapter["max_probability"](p).argsort())


def test_ten_classes_do_not(chapter: dict) -> None:
    orders = [chapter[gate](chances(200)).argsort().tolist() for gate in GATES]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_cascade_takes_each_row_from_one_network(chapter: dict) -> None:
    z, other = noise(40, 10), noise(40, 10, seed=1)
    seen = []

    def accurate(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return rows - z[idk] + other[idk]

    unsure = chapter["max_probability"](z.softmax(1))
    idk = unsure > 0.6
    assert 0 < idk.sum() < 40
    out = chapter["Cascade"](nn.Identity(), accurate, chapter["max_probability"], 0.6)(z)
    assert seen == [int(idk.sum())]                        # asked about these rows only
    assert torch.equal(out[~idk], z[~idk])
    assert torch.allclose(out[idk], other[idk])


@pytest.mark.parametrize("gate, highest", [("max_probability", 0.9), ("margin", 1.0),
                                           ("entropy", math.log(10))])
def test_the_two_ends_of_the_threshold(chapter: dict, gate: str, highest: float) -> None:
    z, other = noise(20, 10), noise(20, 10, seed=1)

    def refuse(rows: Tensor) -> Tensor:
        raise AssertionError("the accurate network was asked")

    make = chapter["Cascade"]
    assert torch.equal(make(nn.Identity(), refuse, chapter[gate], highest + 1e-6)(z), z)
    assert torch.equal(make(nn.Identity(), lambda x: other, chapter[gate], -1.0)(z), other)


def test_gradients_pass_through_a_cascade(chapter: dict) -> None:
    fast, accurate = nn.Linear(4, 3), nn.Linear(4, 3)
    both = chapter["Cascade"](fast, accurate, chapter["entropy"], 1.0)
    both(noise(30, 4).float()).sum().backward()
    assert fast.weight.grad.abs().sum() > 0 and accurate.weight.grad.abs().sum() > 0


def test_objective_by_hand_and_its_rule(chapter: dict) -> None:
    loss_f, loss_a = torch.tensor([0.2, 2.3, 2.3]), torch.tensor([0.1, 0.2, 2.2])
    j = chapter["objective"](torch.tensor([0.0, 1.0, 0.0]), loss_f, loss_a, 0.3, (0.1, 1.0))
    assert j.item() == pytest.approx((0.2 + 0.2 + 2.3 + 0.3 * (3 * 0.1 + 1)) / 3)
    best = min((chapter["objective"](torch.tensor([a, b, c]), loss_f, loss_a, 0.3,
                                     (0.1, 1.0)).item(), (a, b, c))
               for a in (0.0, 1.0) for b in (0.0, 1.0) for c in (0.0, 1.0))
    assert best[1] == tuple((loss_f - loss_a > 0.3).float().tolist())


def test_slope_in_the_gates_logit(chapter: dict) -> None:
    logit = noise(12).requires_grad_()
    loss_f, loss_a = noise(12, seed=1).abs(), noise(12, seed=2).abs()
    chapter["objective"](logit.sigmoid(), loss_f, loss_a, 0.4, (0.2, 0.9)).backward()
    h = logit.sigmoid().detach()
    assert torch.allclose(logit.grad, h * (1 - h) * (loss_a - loss_f + 0.4 * 0.9) / 12)


def test_trained_logits_find_the_rule(chapter: dict) -> None:
    loss_f, loss_a = 2 * noise(30, seed=1).abs(), noise(30, seed=2).abs()
    logit = torch.zeros(30, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.Adam([logit], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        chapter["objective"](logit.sigmoid(), loss_f, loss_a, 0.3, (0.1, 1.0)).backward()
        optimizer.step()
    assert torch.equal(logit > 0, loss_f - loss_a > 0.3)


def test_idk_class_is_a_gate(chapter: dict) -> None:
    z, z_idk = noise(9, 10), noise(9, 1, seed=1)
    left, h = chapter["idk_class"](z, z_idk)
    assert torch.allclose(left, z.softmax(1))
    assert torch.allclose(h, (z_idk[:, 0] - z.logsumexp(1)).sigmoid())


def test_curve_by_hand(chapter: dict) -> None:
    right = {"fast": torch.tensor([1.0, 0, 0, 1]), "accurate": torch.tensor([1.0, 1, 0, 0])}
    line = chapter["curve"](torch.tensor([0.1, 0.9, 0.5, 0.2]), right)
    assert line.tolist() == [50, 75, 75, 50, 50]           # the cascade beats both ends


def test_smallest_share_keeps_the_accuracy(chapter: dict) -> None:
    lot = torch.Generator().manual_seed(0)
    right = {name: (torch.rand(400, generator=lot) < share).float()
             for name, share in (("fast", 0.6), ("accurate", 0.9))}
    unsure = torch.rand(400, generator=lot)
    line, alpha = chapter["curve"](unsure, right), chapter["smallest_share"](unsure, right)
    deferred = int((unsure > alpha).sum())
    needed = 99.5 * right["accurate"].mean().item()
    assert line[deferred] >= needed - 1e-4 and bool((line[:deferred] < needed).all())
    never = {"fast": torch.zeros(400), "accurate": torch.ones(400)}
    assert int((unsure > chapter["smallest_share"](unsure, never, 1.0)).sum()) == 400
    assert chapter["smallest_share"](unsure, never, 1.0) == -np.inf


def test_shapes_of_the_networks_and_the_gate(chapter: dict) -> None:
    for size in (20, 32):
        x = torch.randn(2, 3, size, size)
        assert chapter["Fast"](4, size)(x).shape == chapter["Net"](4, size)(x).shape == (2, 10)
    seen = chapter["features"](chances())
    assert seen.shape == (50, 4) and bool((seen.diff(dim=1) <= 0).all())
    assert chapter["new_gate"]()(seen).shape == (50, 1)


@pytest.mark.parametrize("depth, weights, work", [(18, 11_689_512, 1.8e9),
                                                  (50, 25_557_032, 3.8e9),
                                                  (152, 60_192_808, 11.3e9)])
def test_published_networks(chapter: dict, depth: int, weights: int, work: float) -> None:
    net = chapter["paper_scale"](depth)
    assert metrics.parameters(net) == weights
    assert metrics.multiply_adds(net, 3, 224, 224) == pytest.approx(work, rel=0.02)


@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_are_told_apart_by_their_glyphs(split: str) -> None:
    """The chapter draws again which glyph each picture shows: the labels must agree."""
    cell = next(c.source for c in chapters.get("idk-cascades").notebook.cells
                if "def noisy_digits" in c.source)
    space = tagged.namespace("idk-cascades", seed=3)
    exec(cell.split("def load_task")[0], space)
    _, labels, glyph, level = space["noisy_digits"](100, split)
    known = torch.tensor(data.glyphs(split)[1])
    assert torch.equal(known[glyph], labels) and level.unique().tolist() == [0, 1, 2]
    assert len(glyph.unique()) > 100  # far more than there are classes
