"""SENet: the cells tagged `model` of the chapter, executed and tested."""

from functools import partial

import pytest
import torch
from torch import nn

import tagged
from utils import metrics


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


def test_arms_are_fair(senet: dict) -> None:
    counts = {name: metrics.parameters(build()) for name, build in senet["arms"](4).items()}
    assert counts["SE"] == counts["static gate"] == counts["no squeeze"]
    assert counts["plain"] < counts["SE"] <= counts["widened"] <= 1.05 * counts["SE"]


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
    """With all gates one, y = ReLU(F(x) + x)."""
    torch.manual_seed(0)
    block = senet["Bottleneck"](16, 4, 1, partial(senet["SE"], r=4)).eval()
    nn.init.zeros_(block.gate.excite[2].weight)
    nn.init.constant_(block.gate.excite[2].bias, 30.0)
    x = torch.rand(1, 16, 6, 6)
    with torch.no_grad():
        assert torch.allclose(block(x), torch.relu(block.branch(x) + x), atol=1e-6)
