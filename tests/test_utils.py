"""runtime, blocks and train: what every chapter leans on."""

import numpy as np
import pytest
import torch
from torch import nn

from utils import blocks, runtime, train


def test_one_seed_fixes_all_three_generators() -> None:
    def draws() -> tuple:
        rng = runtime.seed_everything(7)
        return rng.random(), np.random.rand(), torch.rand(1).item()

    assert draws() == draws()
    with pytest.raises(ValueError, match="whole number"):
        runtime.seed_everything(-1)


def test_device_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_DEVICE", "meta")
    assert runtime.device().type == "meta"


def test_environment_names_what_a_reader_compares() -> None:
    assert {"device", "threads", "torch", "python"} <= set(runtime.environment())


def test_timer_measures() -> None:
    with runtime.Timer() as timer:
        sum(range(1000))
    assert 0 < timer.seconds < 5


@pytest.mark.parametrize("height, width", [(64, 64), (61, 47)])
def test_trunk_halves_and_rounds_up(height: int, width: int) -> None:
    shapes = [f.shape for f in blocks.Trunk([4, 8, 8])(torch.zeros(2, 3, height, width))]
    ceil = lambda n, s: -(-n // 2**s)  # noqa: E731
    assert shapes == [(2, c, ceil(height, s), ceil(width, s))
                      for s, c in enumerate([4, 8, 8])]


def test_bias_only_without_normalisation() -> None:
    assert blocks.ConvNormAct(3, 4)[0].bias is None
    assert blocks.ConvNormAct(3, 4, norm=None)[0].bias is not None
    with pytest.raises(ValueError, match="'batch', 'group' or None"):
        blocks.ConvNormAct(3, 4, norm="layer")


def test_valid_double_conv_loses_four_pixels() -> None:
    out = blocks.DoubleConv(1, 2, padding=0, norm=None)(torch.zeros(1, 1, 20, 30))
    assert out.shape == (1, 2, 16, 26)


@pytest.mark.parametrize("layers", [[(3, 1)] * 2, [(3, 1), (2, 2), (3, 1)],
                                    [(5, 2), (3, 1), (2, 2), (3, 1)]])
def test_receptive_field_equals_the_reach_of_the_gradient(layers: list) -> None:
    net = nn.Sequential(*(nn.Conv2d(1, 1, k, s, bias=False) for k, s in layers))
    for conv in net:
        nn.init.ones_(conv.weight)
    image = torch.zeros(1, 1, 61, 61, requires_grad=True)
    out = net(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    touched = image.grad[0, 0].nonzero()
    extent = touched.max(0).values - touched.min(0).values + 1
    assert extent.tolist() == [blocks.receptive_field(layers)] * 2


def test_capture_records_and_removes_its_hooks() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with blocks.capture(net, "0") as seen:
        net(torch.zeros(1, 1, 5, 5))
    assert seen["0"].shape == (1, 2, 3, 3)
    assert not net[0]._forward_hooks
    with pytest.raises(ValueError, match="no submodule"), blocks.capture(net, "7"):
        pass


def test_shape_probe_prints_each_part(capsys: pytest.CaptureFixture) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    blocks.shape_probe(net, torch.zeros(1, 1, 5, 5))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=1) == ["0", "(1, 2, 3, 3)"]
    assert not net[0]._forward_hooks


def test_batches_visit_every_row_once_per_pass() -> None:
    rows = torch.arange(10)
    stream = train.batches(rows, rows * 2, size=5, seed=3)
    first, second = (next(stream) for _ in range(2))
    assert sorted(torch.cat([first[0], second[0]]).tolist()) == list(range(10))
    assert torch.equal(first[1], first[0] * 2)
    again = next(train.batches(rows, rows * 2, size=5, seed=3))
    assert torch.equal(first[0], again[0])
    for bad in (0, 11):
        with pytest.raises(ValueError, match="1..10"):
            next(train.batches(rows, size=bad, seed=0))
    with pytest.raises(ValueError, match="10 rows"):
        next(train.batches(rows, rows[:3], size=2, seed=0))


def test_turns_move_image_and_label_together() -> None:
    image = torch.rand(3, 1, 6, 6)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(40):
        a, b = train.random_quarter_turns(generator, image, image * 2)
        assert torch.equal(b, a * 2)
        seen.add(tuple(a[0, 0].flatten().tolist()))
    assert len(seen) == 8  # the whole symmetry group of the square


def quadratic(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (model(x) - 3).square().mean()


def test_fit_learns_and_repeats_to_the_bit() -> None:
    def run() -> tuple[float, train.History]:
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        rows = torch.randn(32, 2, generator=torch.Generator().manual_seed(1))
        stream = train.batches(rows, size=8, seed=0)
        history = train.fit(model, quadratic, stream, steps=150, lr=0.1)
        assert not model.training
        return model.bias.item(), history

    bias, history = run()
    assert abs(bias - 3) < 0.2 and len(history.losses["loss"]) == 150
    assert history.losses["loss"][-1] < history.losses["loss"][0] / 10
    assert "150 steps" in repr(history)
    assert run()[0] == bias


def test_fit_stops_at_a_loss_that_is_no_number() -> None:
    model = nn.Linear(2, 1)
    broken = lambda m, x: m(x).mean() * float("nan")  # noqa: E731
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train.fit(model, broken, iter([(torch.ones(1, 2),)]), steps=1)
    with pytest.raises(ValueError, match="at least 1"):
        train.fit(model, quadratic, iter([]), steps=0)


def test_cosine_warms_up_and_ends_at_nothing() -> None:
    assert train.cosine(0.0) == pytest.approx(0.05)
    assert train.cosine(0.05) == pytest.approx(1.0, abs=0.01)
    assert train.cosine(1.0) == pytest.approx(0.0)


def test_predict_concatenates_tensors_and_lists() -> None:
    images = torch.rand(5, 1, 4, 4)
    assert torch.equal(train.predict(nn.Identity(), images, size=2), images)

    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple:
            return x, x + 1

    a, b = train.predict(Two(), images, size=2)
    assert torch.equal(b - a, torch.ones_like(images)) or torch.allclose(b - a,
                                                                        torch.ones(1))


def test_trunk_with_depths_is_vgg16() -> None:
    """13 convolutions, 14,714,688 weights; two a stage without depths."""
    with torch.device("meta"):
        vgg = blocks.Trunk([64, 128, 256, 512, 512], norm=None, depths=(2, 2, 3, 3, 3))
    assert sum(p.numel() for p in vgg.parameters()) == 14_714_688
    assert [len(stage) for stage in blocks.Trunk([8, 16]).stages] == [2, 2]
    with pytest.raises(ValueError):
        blocks.Trunk([8, 16], depths=(2,))
