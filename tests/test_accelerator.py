"""Every chapter on a pretended accelerator: what would fail on a GPU fails here."""

import ast
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

import tagged
from pretended_accelerator import DEVICE, OnDevice, pretended
from utils import chapters
from utils.flipbook import Flipbook

STEPS = 3  # of each training


def show(value: Any) -> None:
    """Draw what a cell's last line would show; of a control, its first view and the last."""
    if isinstance(value, Flipbook):
        for position in (value.values[value.start], value.values[-1]):
            plt.close(value.draw(position))


def run_cells(slug: str, **given: Any) -> dict[str, Any]:
    """Execute all code cells of a chapter in this process with other parameters."""
    space: dict[str, Any] = {"__name__": slug}
    for number, cell in enumerate(chapters.get(slug).notebook.cells):
        if cell.cell_type != "code":
            continue
        body = ast.parse(cell.source).body
        last = body.pop().value if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), f"{slug}[{number}]", "exec"), space)
        if last is not None:
            show(eval(compile(ast.Expression(last), f"{slug}[{number}]", "eval"), space))
        if tagged.has_tag(cell, "parameters"):
            space.update(given)
    return space


@pytest.mark.weight(500)
@pytest.mark.parametrize("slug", chapters.find())
def test_chapter_runs_on_the_accelerator(slug: str, monkeypatch) -> None:
    """Model, three steps of each training, predictions, figures and the control."""
    monkeypatch.setenv("BOOK_DEVICE", DEVICE.type)
    monkeypatch.chdir(chapters.get(slug).path.parent)
    with pretended():
        space = run_cells(slug, steps=STEPS)
        models = [v for v in space.values() if isinstance(v, nn.Module)]
        models += [m for v in space.values() if isinstance(v, dict)
                   for m in v.values() if isinstance(m, nn.Module)]
        used = {p.device.type for m in models for p in m.parameters()}
    assert DEVICE.type in used, f"no model of {slug} went to the device"


def test_the_pretended_accelerator_refuses_what_a_gpu_refuses() -> None:
    with pretended() as device:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(
            device, memory_format=torch.channels_last)
        image = torch.rand(2, 3, 8, 8)
        out = model(image.to(device))
        assert isinstance(out, OnDevice) and out.device == device
        with pytest.raises(RuntimeError, match="one device"):
            model(image)
        with pytest.raises(RuntimeError, match="one device"):
            out + torch.zeros(4, 1, 1)
        with pytest.raises(TypeError, match="cpu"):
            out.detach().numpy()
        assert torch.zeros(2, device=device).device == device
        assert torch.zeros(2, device="meta").is_meta
        assert (out.cpu() + 1).device.type == "cpu"
        assert out[torch.tensor([1, 0])].device == device  # CPU indices are welcome


def test_it_computes_what_the_cpu_computes() -> None:
    def weights(device: torch.device) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).to(device)
        data = torch.randn(16, 3).to(device)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(5):
            optimiser.zero_grad()
            (model(data) - 1).square().mean().backward()
            optimiser.step()
        return [p.detach().cpu() for p in model.parameters()]

    expected = weights(torch.device("cpu"))
    with pretended() as device:
        found = weights(device)
    assert all(torch.equal(a, b) for a, b in zip(expected, found))
    assert not isinstance(torch.ones(1), OnDevice)
