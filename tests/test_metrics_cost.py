"""What networks cost, against counts by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils import metrics


class Apply(nn.Module):
    """A network made of a function of the input and a matrix of ones."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


def test_cost_of_a_network() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 8, 3, padding=1, stride=2, groups=2)
            self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
            self.head = nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.up(self.conv(x)).mean((2, 3)))

    conv = 8 * 5 * 5 * (2 * 9)  # outputs x weights of one filter
    up = 8 * 5 * 5 * (6 * 4)  # inputs x weights each of them meets
    net = Net().train()
    assert metrics.multiply_adds(net, 4, 10, 10) == conv + up + 6 * 5
    with torch.device("meta"):
        assert metrics.multiply_adds(Net(), 4, 10, 10) == conv + up + 6 * 5
    assert metrics.parameters(net) == (8 * 2 * 9 + 8) + (8 * 6 * 4 + 6) + (6 * 5 + 5)
    net.head.weight.requires_grad_(False)
    assert metrics.parameters(net) == (8 * 2 * 9 + 8) + (8 * 6 * 4 + 6) + 5


CASES = {
    "dilated, grouped": (lambda: nn.Conv2d(4, 6, 3, dilation=2, groups=2), (4, 9, 9),
                         6 * 5 * 5 * (2 * 9)),
    "transposed, dilated, grouped": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, dilation=2, groups=2), (4, 9, 9),
        4 * 9 * 9 * (3 * 9)),
    "convolution of a line": (lambda: nn.Conv1d(4, 6, 3), (4, 9), 6 * 7 * 4 * 3),
    "linear at each place": (lambda: nn.Linear(8, 3), (5, 6, 8), 30 * 8 * 3),
    "F.conv2d": (lambda: Apply(F.conv2d, 6, 4, 3, 3), (4, 9, 9), 6 * 7 * 7 * 4 * 9),
    "matrix product": (lambda: Apply(torch.matmul, 8, 3), (5, 8), 5 * 8 * 3),
    "matrix times vector": (lambda: Apply(torch.matmul, 8), (5, 8), 5 * 8),
    "einsum": (lambda: Apply(lambda x, w: torch.einsum("bnc,bmc->bnm", x, x), 1), (5, 8),
               5 * 5 * 8),
    "attention": (lambda: Apply(lambda x, w: F.scaled_dot_product_attention(x, x, x), 1),
                  (2, 5, 8), 2 * (2 * 5 * 5 * 8)),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8),
                    5 * (8 * 24 + 8 * 8 + 2 * 8 * 16) + 2 * 5 * 5 * 8),
    "GRU": (lambda: nn.GRU(8, 16, batch_first=True), (5, 8), 5 * 3 * (8 + 16) * 16),
    "LSTM": (lambda: nn.LSTM(8, 16, 2, batch_first=True), (5, 8),
             5 * 4 * (8 + 16 + 16 + 16) * 16),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", CASES)
def test_products_count_as_modules_and_as_functions(case: str, device: str) -> None:
    build, shape, products = CASES[case]
    with torch.device(device):
        assert metrics.multiply_adds(build(), *shape) == products


def test_recurrent_layers_of_cudnn_count() -> None:
    """The fused call that a GPU makes, on the meta device."""
    def gru(x: Tensor, w: Tensor) -> Tensor:
        weights = [x.new_zeros(shape) for shape in ((48, 8), (48, 16), (48,), (48,))]
        return torch._cudnn_rnn(x, weights, 4, None, x.new_zeros(1, 1, 16), None, 3, 16, 0, 1,
                                True, 0.0, False, False, [], None)[0]

    with torch.device("meta"):
        assert metrics.multiply_adds(Apply(gru, 1), 5, 8) == 5 * 3 * (8 + 16) * 16


def test_measuring_leaves_modes_and_buffers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)).train()
    net[2].eval()  # frozen by its owner
    before = {name: value.clone() for name, value in net.state_dict().items()}
    metrics.multiply_adds(net, 3, 8, 8)
    metrics.latency(net, 3, 8, 8, batch=2, repeats=1)
    for measure in (metrics.multiply_adds, metrics.latency):
        with pytest.raises(RuntimeError):
            measure(net, 5, 8, 8)  # the channels do not fit
    assert [m.training for m in net.modules()] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_latency_grows_with_the_work() -> None:
    def net(width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3))

    small, large = (metrics.latency(net(w), 3, 64, 64, repeats=5) for w in (2, 96))
    assert 0 < small < large
    assert metrics.latency(nn.Identity(), 7, repeats=1) > 0  # no weights, no picture
    with pytest.raises(ValueError, match="at least 1, found 0, 30"):
        metrics.latency(net(2), 3, 16, 16, batch=0)


def test_latency_waits_before_each_look_at_the_clock(
        monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    clock = time.perf_counter
    monkeypatch.setattr(metrics.cost, "synchronise", lambda device: events.append("wait"))
    monkeypatch.setattr(time, "perf_counter", lambda: events.append("clock") or clock())
    net = Apply(lambda x, w: events.append("work") or x, 1)
    metrics.latency(net, 3, repeats=2)
    assert events == ["work"] * 5 + ["wait"] + ["clock", "work", "wait", "clock"] * 2


def test_waiting_knows_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: asked.append("mps"))
    for name in ("cpu", "cuda:1", "mps"):
        metrics.cost.synchronise(torch.device(name))
    assert asked == ["cuda:1", "mps"]
