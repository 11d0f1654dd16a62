"""Network slimming: the cells tagged `model` of the chapter, executed and tested."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def slimming() -> dict:
    return tagged.namespace("network-slimming", seed=0)


@pytest.fixture
def net(slimming: dict) -> nn.Module:
    """A small VGG in double precision with random scales, shifts and statistics."""
    torch.manual_seed(0)
    model = slimming["VGG"]([6, 8, "M", 10], classes=4).double().eval()
    for norm in slimming["norms"](model):
        nn.init.uniform_(norm.weight, -1, 1)
        nn.init.uniform_(norm.bias, 0.1, 1)
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return model


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, 3, 9, 9, generator=generator).double()


def test_factors_start_at_one_half(slimming: dict) -> None:
    model = slimming["VGG"](slimming["plan"])
    assert torch.equal(slimming["scales"](model), torch.full((224,), 0.5))


def test_one_threshold_removes_exactly_that_share(slimming: dict, net: nn.Module) -> None:
    sizes = slimming["scales"](net).abs()
    for percent in (0, 25, 50, 70):
        kept = torch.cat(slimming["keepers"](net, percent, least=0))
        assert int((~kept).sum()) == percent * len(sizes) // 100
        if percent:
            assert sizes[~kept].max() <= sizes[kept].min()


def test_no_layer_vanishes(slimming: dict, net: nn.Module) -> None:
    with torch.no_grad():
        net[0][1].weight *= 1e-3  # all of the first layer below the threshold
    keep = slimming["keepers"](net, 50)
    assert int(keep[0].sum()) == 2
    two_largest = net[0][1].weight.abs().topk(2).indices
    assert set(keep[0].nonzero()[:, 0].tolist()) == set(two_largest.tolist())


@pytest.mark.parametrize("training", [False, True])
def test_silenced_and_rebuilt_are_one_function(
        slimming: dict, net: nn.Module, images: Tensor, training: bool) -> None:
    keep = slimming["keepers"](net, 50)
    quiet = slimming["silence"](net, keep).train(training)
    small = slimming["rebuild"](net, keep).double()
    assert metrics.parameters(small) < metrics.parameters(net)
    assert [entry for entry in small.plan if entry != "M"] == [int(m.sum()) for m in keep]
    difference = (quiet(images) - small.train(training)(images)).abs().max()
    assert difference < 1e-5
    assert (net.train(training)(images) - quiet(images)).abs().max() > 1e-3


def test_beta_must_go_too(slimming: dict, net: nn.Module, images: Tensor) -> None:
    keep = slimming["keepers"](net, 50)
    half = deepcopy(net)
    with torch.no_grad():
        for norm, mask in zip(slimming["norms"](half), keep):
            norm.weight *= mask
    small = slimming["rebuild"](net, keep).double()
    assert (half(images) - small(images)).abs().max() > 1e-2


def test_nothing_cut_changes_nothing(slimming: dict, net: nn.Module, images: Tensor) -> None:
    same = slimming["rebuild"](net, slimming["keepers"](net, 0)).double()
    assert same.plan == net.plan
    assert torch.allclose(same(images), net(images), atol=1e-5)


def test_silencing_leaves_the_original(slimming: dict, net: nn.Module) -> None:
    before = slimming["scales"](net)
    slimming["silence"](net, slimming["keepers"](net, 50))
    assert torch.equal(before, slimming["scales"](net))


def test_step_pulls_every_factor_by_the_sign(
        slimming: dict, net: nn.Module, images: Tensor) -> None:
    """Gradient of the step = that of the cross-entropy, plus lambda sign(gamma)."""
    target, other = torch.tensor([0, 1, 2, 3, 0]), deepcopy(net)
    out = slimming["slimming"](0.3)(net, images, target)
    out["loss"].backward()
    plain = F.cross_entropy(other(images), target)
    plain.backward()
    assert torch.allclose(out["cross-entropy"], plain)
    size = slimming["scales"](net).abs().sum()
    assert torch.allclose(out["loss"], plain + 0.3 * size)
    factors = {id(norm.weight) for norm in slimming["norms"](net)}
    assert len(factors) == 3
    for one, two in zip(net.parameters(), other.parameters()):
        pull = 0.3 * one.detach().sign() if id(one) in factors else 0
        assert torch.allclose(one.grad, two.grad + pull, atol=1e-10)


def test_drift_without_data(slimming: dict) -> None:
    """lr 0.1, momentum 0.9, lambda 1e-3: 500 steps from 0.5 to 0, never exactly 0."""
    norm = nn.BatchNorm2d(1)
    nn.init.constant_(norm.weight, 0.5)
    optimizer = torch.optim.SGD([norm.weight], lr=0.1, momentum=0.9, nesterov=True)
    course = []
    for _ in range(700):
        optimizer.zero_grad()
        (1e-3 * norm.weight.abs().sum()).backward()
        optimizer.step()
        course.append(norm.weight.item())
    assert next(n for n, v in enumerate(course, 1) if v <= 0) == pytest.approx(500, abs=15)
    assert 0 < max(map(abs, course[-100:])) <= 0.1 * 1e-3 / (1 - 0.9)
    assert all(value != 0 for value in course)
    # half of the steps at the full rate, a quarter each at a tenth and a hundredth
    assert slimming["drift"](1e-3, 400) == pytest.approx(1e-3 * (200 + 10 + 1))


def test_size_of_the_weights_before_a_norm_does_not_matter(
        slimming: dict, net: nn.Module, images: Tensor) -> None:
    louder = deepcopy(net).train()
    with torch.no_grad():
        louder[0][0].weight *= 10
    assert torch.allclose(louder(images), net.train()(images), atol=1e-3)


def test_published_network(slimming: dict) -> None:
    scale = slimming["paper_scale"]
    assert metrics.parameters(scale()) == 20_035_018
    assert metrics.parameters(scale(100)) == 20_081_188
    assert len(slimming["scales"](scale())) == 5_504
    assert metrics.multiply_adds(scale(), 3, 32, 32) == pytest.approx(398.1e6, rel=2e-4)
    nine_per_cent = metrics.parameters(scale(share=0.3)) / metrics.parameters(scale())
    assert nine_per_cent == pytest.approx(0.3**2, rel=0.02)
