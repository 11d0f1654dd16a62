"""Visual Memory: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("visual-memory", seed=0)


@pytest.fixture
def gru(chapter: dict) -> nn.Module:
    torch.manual_seed(0)
    return chapter["ConvGRU"](3, 4)


def codes(frames: int = 5, size: int = 7, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, frames, channels, size, size,
                       generator=torch.Generator().manual_seed(1))


def test_the_four_equations_frame_by_frame(gru: nn.Module) -> None:
    (xz, xr, xh), b = gru.x.weight.split(4), gru.x.bias.split(4)
    hz, hr = gru.zr.weight.split(4)
    x, h = codes(), torch.zeros(2, 4, 7, 7)
    for t, (state, update, reset) in enumerate(zip(*(p.unbind(1) for p in gru.run(x)))):
        z = torch.sigmoid(F.conv2d(x[:, t], xz, b[0], padding=1) + F.conv2d(h, hz, padding=1))
        r = torch.sigmoid(F.conv2d(x[:, t], xr, b[1], padding=1) + F.conv2d(h, hr, padding=1))
        new = torch.tanh(F.conv2d(x[:, t], xh, b[2], padding=1)
                         + F.conv2d(r * h, gru.h.weight, padding=1))
        h = (1 - z) * h + z * new
        for ours, theirs in ((state, h), (update, z), (reset, r)):
            assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("r_bias, equal", [(40.0, True), (0.0, False)])
def test_torchs_cell_on_one_pixel_agrees_only_where_nothing_is_reset(
        gru: nn.Module, r_bias: float, equal: bool) -> None:
    cell = nn.GRUCell(3, 4)
    for p in cell.parameters():
        nn.init.uniform_(p, -1, 1)
    cell.bias_ih.data[:4] = r_bias
    xz, xr, xh = (w[:, :, 1, 1] for w in gru.x.weight.data.split(4))
    hz, hr = (w[:, :, 1, 1] for w in gru.zr.weight.data.split(4))
    hh = gru.h.weight.data[..., 1, 1]
    for ours, theirs in (((xr, xz, xh), cell.weight_ih), ((hr, hz, hh), cell.weight_hh)):
        for mine, other, sign in zip(ours, theirs.data.split(4), (1, -1, 1)):
            mine.copy_(sign * other)
    bias = (cell.bias_ih + cell.bias_hh).data.split(4)
    gru.x.bias.data = torch.cat([-bias[1], bias[0], bias[2]])
    x, h, states = codes(size=1), torch.zeros(2, 4), []
    for t in range(5):
        states.append(h := cell(x[:, t, :, 0, 0], h))
    same = torch.allclose(gru(x)[..., 0, 0], torch.stack(states, 1), atol=1e-6)
    assert same == equal


def test_a_shut_gate_writes_nothing_and_an_open_one_forgets(gru: nn.Module) -> None:
    gru.x.bias.data[:4] = -1e4
    assert gru(codes()).abs().max() == 0
    gru.x.bias.data[:4], gru.x.bias.data[4:8] = 1e4, -1e4
    x, other = codes(), codes()
    other[:, :4] += 1
    assert torch.allclose(gru(x)[:, 4], gru(other)[:, 4], atol=1e-6)


def test_states_are_bounded_and_causal(gru: nn.Module) -> None:
    x, other = 20 * codes(), 20 * codes()
    other[:, 3] += 1
    a, b = gru(x), gru(other)
    assert a.abs().max() <= 1
    assert torch.equal(a[:, :3], b[:, :3]) and not torch.equal(a[:, 3:], b[:, 3:])


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_news_travels_two_half_kernels_a_step(chapter: dict, kernel: int) -> None:
    torch.manual_seed(0)
    gru, half = chapter["ConvGRU"](3, 4, kernel).double(), kernel // 2
    x = codes(2, 25).double()
    other = x.clone()
    other[:, 0, :, 12, 12] += 1
    moved = (gru(x) != gru(other)).any(2).any(0)
    for t, reach in ((0, half), (1, 3 * half)):
        rows = moved[t].any(1).nonzero()[:, 0]
        assert rows.min() == 12 - reach and rows.max() == 12 + reach


def test_a_wipe_starts_again_from_zero(gru: nn.Module) -> None:
    x = codes()
    wiped = gru(x, erase=(2,))
    assert torch.equal(wiped[:, :2], gru(x)[:, :2])
    assert torch.allclose(wiped[:, 2:], gru(x[:, 2:]), atol=1e-6)


def net(chapter: dict, both: bool) -> nn.Module:
    torch.manual_seed(0)
    return chapter["Net"](chapter["ConvGRU"](5, 4), 4, both=both).eval()


def test_time_reversal_swaps_the_halves(chapter: dict) -> None:
    model, x = net(chapter, True), codes(6, 8, channels=5)
    ahead, back = model.states(x), model.states(x.flip(1)).flip(1)
    assert ahead.shape == (2, 6, 8, 8, 8)
    assert (ahead[:, :, :4] - back[:, :, 4:]).abs().max() < 1e-5
    assert (ahead[:, :, 4:] - back[:, :, :4]).abs().max() < 1e-5
    assert (ahead[:, :, :4] - ahead[:, :, 4:]).abs().max() > 1e-2


@pytest.mark.parametrize("arm", ["per frame", "forward", "bidirectional"])
def test_who_knows_of_which_frames(chapter: dict, arm: str) -> None:
    torch.manual_seed(0)
    memory = chapter["PerFrame" if arm == "per frame" else "ConvGRU"](5, 4)
    model = chapter["Net"](memory, 4, both=arm == "bidirectional").eval()
    looks, motion = torch.randn(1, 5, 64, 6, 8), torch.rand(1, 5, 1, 6, 8)
    later = motion.clone()
    later[:, 2] += 1
    with torch.no_grad():
        a, b = model(looks, motion), model(looks, later)
    assert a.shape == (1, 5, 6, 8)
    changed = (a - b).abs().flatten(2).amax(2)[0] > 1e-7
    assert changed.tolist() == {"per frame": [False, False, True, False, False],
                                "forward": [False, False, True, True, True],
                                "bidirectional": [True] * 5}[arm]


def test_arms_have_as_many_weights(chapter: dict) -> None:
    gru, stack = chapter["ConvGRU"](17, 16), chapter["PerFrame"](17, 16)
    ahead, both = (chapter["Net"](gru, 16, both=both) for both in (False, True))
    frame = chapter["Net"](stack, 16)
    counts = [metrics.parameters(m) for m in (frame, ahead, both)]
    assert max(counts) / min(counts) < 1.03 and counts[0] == max(counts)


def test_paper_scale(chapter: dict) -> None:
    paper = chapter["paper_scale"]()
    assert metrics.parameters(paper["memory"]) == 1_815_936
    assert [p.numel() for p in paper["head"].parameters()] == [73_728, 64, 128, 2]
