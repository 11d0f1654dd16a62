"""EI-CNN: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F

import tagged
from utils import metrics

CHANGES = {"quarter": lambda x: torch.rot90(x, 1, (-2, -1)),
           "half": lambda x: torch.rot90(x, 2, (-2, -1)),
           "mirror": lambda x: x.flip(-2), "other mirror": lambda x: x.flip(-1)}
EXACT = {"plain": set(), "flip": set(), "flip+": {"half", "mirror", "other mirror"},
         "C4": {"quarter", "half"}, "ring": {"quarter", "half"}, "D4": set(CHANGES)}


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("ei-cnn", seed=0)


def test_ring_turns_as_in_the_paper(chapter: dict) -> None:
    kernel = torch.arange(1, 10).view(3, 3)
    assert chapter["ring"](kernel, 1).tolist() == [[4, 1, 2], [7, 5, 3], [8, 9, 6]]
    for quarter in range(4):
        assert torch.equal(chapter["ring"](kernel, 2 * quarter),
                           torch.rot90(kernel, -quarter))
    assert torch.equal(chapter["ring"](kernel, 8), kernel)


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", EXACT)
def test_closed_sets_and_only_those_are_exact(chapter: dict, kind: str, change: str,
                                              size: int) -> None:
    torch.manual_seed(0)
    layer = chapter["TurnedConv"](3, 4, kind).double()
    x, turn = torch.randn(2, 3, size, size, dtype=torch.double), CHANGES[change]
    same = torch.allclose(layer(turn(x)), turn(layer(x)), atol=1e-10)
    assert same == (change in EXACT[kind])


@pytest.mark.parametrize("kind, versions", [("plain", 1), ("flip", 3), ("C4", 4), ("ring", 8),
                                            ("D4", 8)])
def test_weights_stay_and_work_grows(chapter: dict, kind: str, versions: int) -> None:
    layer = chapter["TurnedConv"](5, 6, kind, bias=True)
    assert metrics.parameters(layer) == 9 * 5 * 6 + 6
    assert metrics.multiply_adds(layer, 5, 8, 8) == versions * 9 * 5 * 6 * 64


def test_largest_answer_of_all_versions(chapter: dict) -> None:
    torch.manual_seed(1)
    layer, x = chapter["TurnedConv"](2, 3, "ring"), torch.randn(1, 2, 9, 9)
    each = torch.stack([F.conv2d(x, chapter["ring"](layer.weight, m), padding=1)
                        for m in range(8)])
    assert torch.allclose(layer(x), each.amax(0), atol=1e-6)


def test_symmetric_kernels_make_a_plain_convolution(chapter: dict) -> None:
    layer, plain = (chapter["TurnedConv"](1, 1, kind) for kind in ("D4", "plain"))
    cross = torch.tensor([[1.0, 2, 1], [2, -3, 2], [1, 2, 1]])[None, None]
    with torch.no_grad():
        layer.weight.copy_(cross)
        plain.weight.copy_(cross)
    x = torch.randn(1, 1, 8, 8)
    assert torch.allclose(layer(x), plain(x), atol=1e-6)


@pytest.mark.parametrize("name, exact", [("plain", ""), ("paper's layers", ""),
                                         ("all C4", "quarter"), ("all D4", "both")])
def test_whole_networks(chapter: dict, name: str, exact: str) -> None:
    net, x = chapter["build"](name).eval(), torch.randn(1, 1, 16, 16)
    for change, wanted in (("quarter", exact != ""), ("mirror", exact == "both")):
        turn = CHANGES[change]
        assert torch.allclose(net(turn(x)), turn(net(x)), atol=1e-4) == wanted


def test_arms_start_from_the_same_weights(chapter: dict) -> None:
    first, *others = (chapter["build"](name).state_dict() for name in chapter["KINDS"])
    for other in others:
        assert all(torch.equal(first[key], other[key]) for key in first)


def test_paper_scale(chapter: dict) -> None:
    old, new = (chapter["paper_scale"](is_new) for is_new in (False, True))
    norms = 26_056  # scales and shifts
    assert metrics.parameters(old) == 23_976_748 + norms
    assert metrics.parameters(new) == 24_142_828 + norms
    for net in (old, new):
        assert net(torch.empty(1, 1, 64, 96, device="meta")).shape == (1, 2, 64, 96)
