"""train: the one loop, its batches, and what goes wrong in it."""

import pytest
import torch
from torch import nn

from utils import train


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
    with pytest.raises(FloatingPointError, match="after 0 steps: lower the learning rate"):
        train.fit(model, broken, iter([(torch.ones(1, 2),)]), steps=1)
    with pytest.raises(ValueError, match="at least 1"):
        train.fit(model, quadratic, iter([]), steps=0)


def test_after_step_sees_and_changes_the_new_weights() -> None:
    model, seen = nn.Linear(2, 1), []

    def prune(net: nn.Module, number: int) -> None:
        seen.append((number, net.bias.item()))
        with torch.no_grad():
            net.weight[:, 0] = 0

    stream = train.batches(torch.ones(4, 2), size=2, seed=0)
    train.fit(model, quadratic, stream, steps=3, lr=0.1, after_step=prune)
    assert [number for number, _ in seen] == [1, 2, 3]
    assert len({bias for _, bias in seen}) == 3 and seen[-1][1] == model.bias.item()
    assert model.weight[0, 0] == 0 != model.weight[0, 1]


def test_fit_says_where_a_finite_source_ends() -> None:
    three = [(torch.ones(1, 2),)] * 3
    with pytest.raises(ValueError, match="ended after 3 batches, 5 steps were asked"):
        train.fit(nn.Linear(2, 1), quadratic, three, steps=5)
    assert len(train.fit(nn.Linear(2, 1), quadratic, three, steps=3).losses["loss"]) == 3


def test_fit_records_floats_beside_the_loss() -> None:
    def step(model: nn.Module, x: torch.Tensor) -> dict:
        loss = quadratic(model, x)
        return {"loss": loss, "half": loss.detach() / 2, "share": 0.25, "count": 3}

    history = train.fit(nn.Linear(2, 1), step, [(torch.ones(1, 2),)] * 2, steps=2)
    assert history.losses["share"] == [0.25, 0.25] and history.losses["count"] == [3, 3]
    assert history.losses["half"] == [loss / 2 for loss in history.losses["loss"]]
    with pytest.raises(ValueError, match=r"entry 'loss', not only \['total'\]"):
        train.fit(nn.Linear(2, 1), lambda model, x: {"total": quadratic(model, x)},
                  [(torch.ones(1, 2),)], steps=1)


def test_cosine_warms_up_and_ends_at_nothing() -> None:
    assert train.cosine(0.0) == pytest.approx(0.05)
    assert train.cosine(0.05) == pytest.approx(1.0, abs=0.01)
    assert train.cosine(1.0) == pytest.approx(0.0)


class Sides(nn.Module):
    """A map, its mean over each picture, and what the pass was like."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.passes = nn.Dropout(0.5), []

    def forward(self, x: torch.Tensor) -> tuple:
        self.passes.append((len(x), self.training, torch.is_grad_enabled()))
        return self.dropout(x), x.mean((1, 2, 3))


def test_predict_concatenates_tensors_and_lists_in_order() -> None:
    images = torch.rand(5, 1, 4, 4)
    assert torch.equal(train.predict(nn.Identity(), images, size=2), images)
    model = Sides().train()
    maps, means = train.predict(model, images, size=2)
    assert torch.equal(maps, images) and torch.equal(means, images.mean((1, 2, 3)))
    assert model.passes == [(2, False, False), (2, False, False), (1, False, False)]
