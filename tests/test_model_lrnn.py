"""L-RNN: the cells tagged `model` of the chapter, executed and tested."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("lrnn", seed=0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(chapter: dict, k: int = 0, spread: float = 0.2) -> nn.Module:
    torch.manual_seed(k)
    made = chapter["Scan"](nn.Conv2d(5, 7, 1), k)
    made.V.data = spread * noise(2, 7, 7, seed=k)
    return made


@pytest.mark.parametrize("length, lines", [(1, 1), (2, 3), (9, 4)])
def test_the_fast_scan_is_the_slow_one(chapter: dict, length: int, lines: int) -> None:
    x, V = noise(length, lines, 6), 0.3 * noise(2, 6, 6, seed=1)
    fast, slow = chapter["scan"](x, V), chapter["scan_slowly"](x, V)
    assert fast.shape == x.shape and torch.allclose(fast, slow, atol=1e-5)


def test_three_pixels_by_hand(chapter: dict) -> None:
    """D = 1, a forwards, c backwards, all values positive: the ReLU does nothing."""
    x, a, c = torch.tensor([1.0, 2.0, 3.0]), 0.5, 0.25
    out = chapter["scan"](x.view(3, 1, 1), torch.tensor([a, c]).view(2, 1, 1)).flatten()
    there = torch.tensor([1, 2 + a * 1, 3 + a * (2 + a * 1)])
    back = torch.tensor([1 + c * (2 + c * 3), 2 + c * 3, 3])
    assert torch.allclose(out, (there + back) / 2)


def test_an_impulse_fades_exponentially(chapter: dict) -> None:
    impulse = torch.zeros(9, 1, 1)
    impulse[4] = 1.0
    out = chapter["scan"](impulse, torch.full((2, 1, 1), 0.5)).flatten()
    far = (torch.arange(9) - 4).abs()
    assert torch.allclose(out, torch.where(far > 0, 0.5 ** far / 2, 1.0))


@pytest.mark.parametrize("k", [0, 1])
def test_without_memory_a_scan_is_the_layer_to_the_bit(chapter: dict, k: int) -> None:
    conv, x = nn.Conv2d(5, 7, 3, padding=1), noise(2, 5, 6, 9)
    assert torch.equal(chapter["Scan"](conv, k)(x), F.relu(conv(x)))


def test_columns_are_rows_of_the_transposed_map(chapter: dict) -> None:
    rows, x = layer(chapter), noise(2, 5, 6, 9)
    columns = copy.deepcopy(rows)
    columns.axis = 2
    assert torch.allclose(columns(x), rows(x.transpose(2, 3)).transpose(2, 3), atol=1e-6)


def test_a_mirrored_map_exchanges_the_directions(chapter: dict) -> None:
    rows, x = layer(chapter), noise(2, 5, 6, 9)
    turned = copy.deepcopy(rows)
    turned.V.data = rows.V.data.flip(0)
    assert torch.allclose(turned(x.flip(3)), rows(x).flip(3), atol=1e-6)


def field(net: nn.Module) -> Tensor:
    """Which pixels of an 8 x 9 map the middle one depends on."""
    x = torch.ones(1, 5, 8, 9, requires_grad=True)
    net(x)[0, :, 4, 4].sum().backward()
    return x.grad.abs().sum((0, 1)) > 0


def test_each_scan_sees_its_own_line_and_both_see_everything(chapter: dict) -> None:
    rows, columns = layer(chapter), chapter["Scan"](nn.Conv2d(7, 7, 1), 1)
    for scan in (rows, columns):  # positive weights: no state dies, nothing cancels
        for weight in scan.parameters():
            nn.init.constant_(weight, 0.1)
    assert torch.equal(field(rows), torch.arange(8)[:, None].expand(8, 9) == 4)
    assert field(nn.Sequential(rows, columns)).all()
    rows.V.data[1] = 0  # only from the left
    seen = field(rows)
    assert seen[4, :5].all() and seen.sum() == 5


def test_pictures_do_not_mix(chapter: dict) -> None:
    rows, x = layer(chapter), noise(3, 5, 4, 6)
    assert torch.allclose(rows(x)[1:2], rows(x[1:2]), atol=1e-6)


@pytest.mark.parametrize("make", ["plain", "Told", "dilated", "Scan"])
def test_every_insertion_starts_as_the_network(chapter: dict, make: str) -> None:
    torch.manual_seed(0)
    net, x = chapter["Net"](3, 4, 6, 5), noise(2, 3, 30, 31)
    new = chapter["insert"](net, chapter[make])
    assert torch.allclose(new(x), net(x), atol=1e-5)
    with torch.no_grad():  # and shares no weight with it
        for weight in new.parameters():
            weight.add_(1.0)
    assert not torch.allclose(new(x), net(x), atol=1e-2)


def test_the_local_network_sees_its_window_only(chapter: dict) -> None:
    torch.manual_seed(0)
    net, x = chapter["Net"](3, 4, 6, 5), noise(1, 3, 24, 24).requires_grad_()
    net(x)[0, :, 12, 12].sum().backward()
    far = x.grad.abs().sum((0, 1))
    far[10:15, 10:15] = 0
    assert far.max() == 0


def test_dilated_rival_sees_18_pixels(chapter: dict) -> None:
    torch.manual_seed(0)
    net = chapter["insert"](chapter["Net"](3, 4, 16, 5), chapter["dilated"], new=True).double()
    x = torch.zeros(1, 3, 49, 49, dtype=torch.double, requires_grad=True)
    for weight in net.parameters():  # positive weights: nothing cancels
        nn.init.constant_(weight, 0.1)
    net(x)[0, :, 24, 24].sum().backward()
    seen = x.grad.abs().sum((0, 1)) > 0
    assert seen[6:43, 6:43].all() and seen.sum() == 37**2


def test_memory_weighs_four_squares(chapter: dict) -> None:
    net = chapter["Net"](3, 4, 16, 5)
    count = [metrics.parameters(chapter["insert"](net, chapter[m])) for m in ("plain", "Scan")]
    assert count[1] - count[0] == 4 * 16**2


@pytest.mark.parametrize("D", [512, 1024, 2048])
def test_published_networks(chapter: dict, D: int) -> None:
    count = [metrics.parameters(chapter["paper_scale"](D, memory)) for memory in (False, True)]
    assert count[1] - count[0] == 4 * D**2
    trunk, top = chapter["paper_scale"](D)
    assert metrics.parameters(trunk) == 14_714_688  # VGG-16's convolutions
    deepest = trunk(torch.empty(1, 3, 384, 384, device="meta"))[-1]
    assert top(F.max_pool2d(deepest, 2)).shape == (1, 21, 12, 12)
