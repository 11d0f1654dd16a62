"""The shared losses against closed forms."""

import math

import pytest
import torch

from utils import losses


def test_zero_logits_cost_what_the_formula_says() -> None:
    """2 ln 2 |Y+| |Y-| / |Y| in sum, and that over |Y| in mean."""
    truth = torch.zeros(1, 1, 10, 10)
    truth[0, 0, 0, :7] = 1
    total = losses.balanced(torch.zeros_like(truth), truth, "sum")
    assert total.item() == pytest.approx(2 * math.log(2) * 7 * 93 / 100, rel=1e-6)
    assert losses.balanced(torch.zeros_like(truth), truth).item() * 100 == pytest.approx(
        total.item(), rel=1e-6)


def test_balance_is_taken_image_by_image() -> None:
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.1, 0.6]).view(2, 1, 1, 1)
    truth = torch.rand(2, 3, 9, 9, generator=generator) < shares  # booleans are welcome
    logits = torch.randn(2, 3, 9, 9, generator=generator)
    single = [losses.balanced(logits[i:i + 1], truth[i:i + 1]).item() for i in range(2)]
    assert losses.balanced(logits, truth).item() == pytest.approx(sum(single) / 2, rel=1e-6)


def test_an_image_of_one_class_costs_nothing() -> None:
    """All weight lies on the class that is absent."""
    logits = torch.randn(1, 1, 4, 4)
    assert losses.balanced(logits, torch.zeros(1, 1, 4, 4)).item() == 0


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        losses.balanced(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="'mean' or 'sum'"):
        losses.balanced(torch.zeros(1, 4), torch.zeros(1, 4), "none")
