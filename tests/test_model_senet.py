"""SENet: the cells tagged `model` of the chapter, executed and tested."""

from itertools import permutations

import pytest
import torch
from torch import nn

import tagged
from utils import blocks, metrics


@pytest.fixture(scope="module")
def senet() -> dict:
    return tagged.namespace("senet", seed=0)


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand(3, 16, 5, 7, generator=torch.Generator().manual_seed(0)) + 0.1


def gates(block: nn.Module, u: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return block(u) / u


def test_gate_is_the_formula(senet: dict, maps: torch.Tensor) -> None:
    torch.manual_seed(0)
    block = senet["SE"](16, r=4)
    first, _, second, _ = block.excite
    z = maps.mean((2, 3))
    s = torch.sigmoid(torch.relu(z @ first.weight.T + first.bias) @ second.weight.T
                      + second.bias)
    assert torch.allclose(gates(block, maps), s[..., None, None].expand_as(maps), atol=1e-5)
    assert first.weight.shape == (4, 16) and second.weight.shape == (16, 4)


def test_zero_weights_halve_and_a_large_bias_opens(senet: dict, maps: torch.Tensor) -> None:
    block = senet["SE"](16)
    nn.init.zeros_(block.excite[2].weight)
    nn.init.zeros_(block.excite[2].bias)
    assert torch.allclose(block(maps), maps / 2)
    nn.init.constant_(block.excite[2].bias, 30.0)
    assert torch.allclose(block(maps), maps)


def test_gates_ignore_layout_and_stay_below_one(senet: dict, maps: torch.Tensor) -> None:
    torch.manual_seed(1)
    block = senet["SE"](16)
    plain = gates(block, maps)
    for moved in (maps.flip(-1), maps.roll((2, 3), (-2, -1))):
        assert torch.allclose(gates(block, moved), plain, atol=1e-5)
    assert plain.flatten(2).std(-1).max() < 1e-6
    assert 0 < plain.min() and plain.max() < 1


def test_static_gate_ignores_the_picture(senet: dict, maps: torch.Tensor) -> None:
    torch.manual_seed(1)
    block = senet["StaticGate"](16)
    assert torch.allclose(gates(block, maps), gates(block, 5 * maps.flip(0)), atol=1e-6)


def test_no_squeeze_gates_each_pixel_by_itself(senet: dict, maps: torch.Tensor) -> None:
    torch.manual_seed(1)
    block = senet["NoSqueeze"](16)
    changed = maps.clone()
    changed[..., 0, 0] += 1
    differs = (gates(block, maps) - gates(block, changed)).abs().amax((0, 1)) > 1e-7
    assert differs[0, 0] and differs.sum() == 1


def test_hidden_layer_never_vanishes(senet: dict) -> None:
    assert senet["SE"](2, r=4).excite[0].out_features == 1


def test_a_net_sees_a_window_or_all_of_the_picture(senet: dict) -> None:
    """Three stages see 17 pixels, as the chapter says, a fourth one all 28."""
    torch.manual_seed(0)
    for widths, sees in (((4, 8, 16), 17), ((4, 8, 12, 12), 28)):
        net = senet["Net"](widths, 4).eval()
        net.head = nn.Identity()
        image = torch.rand(1, 3, 28, 28, requires_grad=True)
        x = image
        for stage, conv in enumerate(net.convs):
            x = conv(nn.functional.max_pool2d(x, 2) if stage > 1 else x)
        assert torch.allclose(net(image), x.mean((2, 3)))
        x[..., x.shape[-2] // 2, x.shape[-1] // 2].sum().backward()
        rows = image.grad.abs().sum((0, 1, 3)) > 0
        assert rows.sum() <= sees and (sees == 28 or rows.sum() >= sees - 3)


def test_arms_have_as_many_weights(senet: dict) -> None:
    """Equal where the layers are; else at least SE's, and no more than a unit too many."""
    counts = {name: metrics.parameters(build()) for name, build in senet["arms"](4).items()}
    assert counts["SE"] == counts["static gate"] == counts["no squeeze"]
    assert counts["plain"] < counts["SE"]
    for name in ("widened", "deeper", "SE, deeper"):
        assert counts["SE"] <= counts[name] <= 1.05 * counts["SE"], name


def test_fitted_is_the_smallest(senet: dict) -> None:
    widths = senet["fitted"](17_000, 4, (1, 2, 4))
    assert metrics.parameters(senet["Net"](widths, 4)) >= 17_000
    smaller = (widths[0], widths[1], widths[2] - 1)
    assert metrics.parameters(senet["Net"](smaller, 4)) < 17_000


def test_votes_answer_two_thirds_at_most() -> None:
    """The bound that the chapter proves: scores cue votes + stripes votes, 12 of 18."""
    generator = torch.Generator().manual_seed(3)
    deals = [torch.tensor(p) for p in permutations(range(3))]
    best = 0
    for _ in range(40):
        cue_votes = torch.randint(-4, 5, (3, 3), generator=generator).double()
        cue_votes += 0.1 * torch.rand(3, 3, generator=generator)
        offers = 3 * torch.randn(20_000, 1, 3, generator=generator)
        said = (cue_votes + offers).argmax(-1)                 # (20000, 3 cues)
        best = max(best, sum(int((said == deal).sum(1).max()) for deal in deals))
    assert best == 12


def test_published_network(senet: dict) -> None:
    scale = senet["paper_scale"]
    assert metrics.parameters(scale()) == 28_088_024
    assert metrics.parameters(scale(gated=0)) == 25_557_032
    assert metrics.multiply_adds(scale(gated=0), 3, 224, 224) == pytest.approx(3.858e9,
                                                                             rel=1e-3)
    stages = nn.Sequential(*list(scale())[:-3])
    assert stages(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 2048, 7, 7)


@pytest.mark.parametrize("r, weights", [(2, 20_119_552), (8, 5_029_888), (32, 1_257_472)])
def test_extra_weights_of_other_ratios(senet: dict, r: int, weights: int) -> None:
    gated, plain = (senet["paper_scale"](**o) for o in ({"r": r}, {"gated": 0}))
    biases = sum(n * (256 * 2**s + 256 * 2**s // r) for s, n in enumerate((3, 4, 6, 3)))
    assert metrics.parameters(gated) - metrics.parameters(plain) == weights + biases


def test_open_gates_leave_the_residual_block(senet: dict) -> None:
    """With all gates one, y = ReLU(F(x) + x): the gate ends the branch."""
    torch.manual_seed(0)
    block = blocks.Bottleneck(16, 4)
    block.branch.append(senet["SE"](16, r=4))
    block.eval()
    x = torch.rand(1, 16, 6, 6)
    with torch.no_grad():
        assert torch.allclose(block(x), torch.relu(block.branch(x) + x), atol=1e-6)
        half = block.branch(x)
        nn.init.zeros_(block.branch[-1].excite[2].weight)
        nn.init.constant_(block.branch[-1].excite[2].bias, 30.0)
        assert torch.allclose(block(x), torch.relu(block.branch[:-1](x) + x), atol=1e-6)
        assert not torch.allclose(half, block.branch(x), atol=1e-3)


def test_published_blocks_end_in_their_gate(senet: dict) -> None:
    stages = [m for m in senet["paper_scale"]() if isinstance(m, blocks.Bottleneck)]
    assert len(stages) == 16
    assert all(isinstance(m.branch[-1], senet["SE"]) for m in stages)
