"""RCNN: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("rcnn", seed=0)


def layer(chapter: dict, T: int = 3, **options) -> nn.Module:
    torch.manual_seed(0)
    return chapter["RCL"](3, 6, T, **{"norm": False} | options)


def picture(size: int = 12) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_states_equation_by_equation(chapter: dict) -> None:
    rcl, u = layer(chapter), picture()
    W, b, R = rcl.W.weight, rcl.W.bias, rcl.R[0].weight
    x = F.relu(F.conv2d(u, W, b, padding=1))
    for state in rcl.states(u):
        assert torch.allclose(state, x, atol=1e-5)
        x = F.relu(F.conv2d(u, W, b, padding=1) + F.conv2d(x, R, padding=1))


def test_input_once_hears_the_input_at_the_first_step_only(chapter: dict) -> None:
    rcl, u = layer(chapter, again=False), picture()
    first = F.relu(rcl.W(u))
    then = F.relu(rcl.R[0](first) + rcl.W.bias[:, None, None])
    assert torch.allclose(rcl(u, T=1), then, atol=1e-6)


@pytest.mark.parametrize("norm", [True, False])
def test_no_steps_is_a_convolution_and_has_no_recurrent_kernel(chapter: dict, norm) -> None:
    rcl, u = layer(chapter, T=0, norm=norm).eval(), picture()
    assert len(rcl.R) == 0 and torch.equal(rcl(u), F.relu(rcl.norms[0](rcl.W(u))))


def test_without_its_recurrent_kernel_the_state_stands_still(chapter: dict) -> None:
    rcl, u = layer(chapter, gain=0.0), picture()
    states = rcl.states(u)
    assert len(states) == 4 and all(torch.allclose(x, states[0], atol=1e-6) for x in states)


def test_keep_adds_the_identity_and_gain_scales(chapter: dict) -> None:
    plain, kept = layer(chapter), layer(chapter, gain=0.5, keep=0.6)
    more = kept.R[0].weight - 0.5 * plain.R[0].weight
    assert torch.allclose(more[:, :, 1, 1], 0.6 * torch.eye(6), atol=1e-6)
    more[:, :, 1, 1] = 0
    assert more.abs().max() < 1e-6


def test_tied_gradient_is_the_sum_of_the_untied_ones(chapter: dict) -> None:
    tied, untied = layer(chapter), layer(chapter, tied=False)
    untied.W.load_state_dict(tied.W.state_dict())
    for R in untied.R:
        R.load_state_dict(tied.R[0].state_dict())
    for rcl in (tied, untied):
        rcl(picture()).square().sum().backward()
    assert torch.allclose(tied.R[0].weight.grad, sum(R.weight.grad for R in untied.R),
                          rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("T", [0, 1, 3, 5])
def test_sight_grows_by_one_pixel_a_step(chapter: dict, T: int) -> None:
    rcl, u = chapter["RCL"](1, 3, max(T, 1), norm=False), torch.ones(1, 1, 17, 17)
    for p in rcl.parameters():
        p.data = p.data.abs() + 0.01
    u.requires_grad_()
    rcl(u, T)[0, :, 8, 8].sum().backward()
    assert int((u.grad != 0).sum()) == (2 * T + 3) ** 2


def test_each_step_has_its_own_norm_and_a_longer_run_uses_the_last(chapter: dict) -> None:
    rcl = layer(chapter, T=2, norm=True).eval()
    assert len(rcl.norms) == 3 and len(rcl.states(picture(), T=6)) == 7


def test_linear_limit(chapter: dict) -> None:
    rcl = layer(chapter, T=1)
    for p in rcl.parameters():
        p.data = p.data.abs()
    rcl.R[0].weight.data = 0.5 * torch.eye(6)[:, :, None, None] * F.pad(
        torch.ones(1, 1, 1, 1), (1, 1, 1, 1))
    x = rcl.states(picture().abs(), T=40)
    assert torch.allclose(x[40], 2 * x[0], rtol=1e-4)


@pytest.mark.parametrize("T", [0, 2, 8])
def test_follow_cannot_know_of_a_dot_out_of_sight(chapter: dict, T: int) -> None:
    net, x = chapter["Follow"](T).eval(), torch.rand(1, 3, 20, 20)
    other = x.clone()
    other[..., 0, 0] += 1.0
    changed = (net(x) != net(other))[0]
    assert changed.any() and not changed[T + 2:].any() and not changed[:, T + 2:].any()


@pytest.mark.parametrize("stages", [1, 2])
def test_net_shapes(chapter: dict, stages: int) -> None:
    net = chapter["Net"](3, 8, 3, stages=stages).eval()
    assert net(torch.rand(2, 3, 18, 18)).shape == (2, 10)


@pytest.mark.parametrize("K, count", [(96, 672_202), (128, 1_191_178), (160, 1_857_610)])
def test_paper_scale(chapter: dict, K: int, count: int) -> None:
    for T in (1, 3, 6):
        assert metrics.parameters(chapter["paper_scale"](K, T=T)) == count
    assert count == 25 * 3 * K + K + 4 * (18 * K * K + K) + 10 * K + 10
