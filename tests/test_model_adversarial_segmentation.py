"""Adversarial Segmentation: the cells tagged `model`, executed and tested."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tagged
from utils import metrics

VOID = 11


def one_hot(labels: Tensor) -> Tensor:
    """(N, H, W) -> (N, 5, H, W), without a class where void."""
    known = labels != VOID
    return (F.one_hot(labels.where(known, 0), 5) * known[..., None]).movedim(-1, 1).float()


@pytest.fixture(scope="module")
def chapter() -> dict:
    return tagged.namespace("adversarial-segmentation", seed=0, K=5, VOID=VOID,
                            device=torch.device("cpu"), one_hot=one_hot)


def batch(void: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Features (2, 7, 16, 16), labels (2, 16, 16), pictures (2, 3, 16, 16)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (2, 16, 16), generator=generator)
    if void:
        labels[:, :4] = VOID
    return (torch.randn(2, 7, 16, 16, generator=generator), labels,
            torch.rand(2, 3, 16, 16, generator=generator))


def test_losses_are_binary_cross_entropies(chapter: dict) -> None:
    real, fake = torch.linspace(-3, 5, 9), torch.linspace(-6, 2, 9)
    ones, zeros = torch.ones(9), torch.zeros(9)
    loss = (F.binary_cross_entropy_with_logits(real, ones)
            + F.binary_cross_entropy_with_logits(fake, zeros))
    assert chapter["adversary_loss"](real, fake).item() == pytest.approx(loss.item())
    assert chapter["fool"](zeros).item() == pytest.approx(math.log(2))
    assert chapter["adversary_loss"](zeros, zeros).item() == pytest.approx(2 * math.log(2))


def test_product_holds_the_picture_class_by_class(chapter: dict) -> None:
    _, labels, pictures = batch()
    cut = chapter["product"](one_hot(labels), pictures).view(2, 5, 3, 16, 16)
    assert torch.equal(cut.sum(1), pictures)
    for k in range(5):
        assert torch.equal(cut[:, k], pictures * (labels == k)[:, None])


def test_scaling_keeps_labels_and_sure_pixels(chapter: dict) -> None:
    features, labels, _ = batch()
    maps, truth = (4 * features[:, :5]).softmax(1), one_hot(labels)
    soft = chapter["scaling"](truth, maps)
    assert torch.allclose(soft.sum(1), torch.ones(2, 16, 16))
    own = (truth * soft).sum(1)
    assert own.min() >= 0.9 - 1e-6 and torch.equal(soft.argmax(1), labels)
    sure = (truth * maps).sum(1) >= 0.9
    assert sure.any() and torch.allclose(soft.movedim(1, -1)[sure],
                                         maps.movedim(1, -1)[sure])


def test_scaling_leaves_void_empty(chapter: dict) -> None:
    """A void pixel has no class in the truth and no mass in the masked prediction."""
    features, labels, _ = batch(void=True)
    maps = features[:, :5].softmax(1) * (labels != VOID)[:, None]
    soft = chapter["scaling"](one_hot(labels), maps)
    assert not soft[:, :, :4].any() and torch.isfinite(soft).all()


@pytest.mark.parametrize("field, light, window", [("Large", False, 34), ("Large", True, 34),
                                                  ("Small", False, 18), ("Small", True, 18)])
def test_windows_of_the_papers_adversaries(chapter: dict, field: str, light: bool,
                                           window: int) -> None:
    """The gradient of one place is non-zero in just that window."""
    layers = []
    for layer in chapter["paper_scale"](field, light, inputs=2):
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):  # the same kernels on one channel
            side, plain = layer.kernel_size[0], layer.in_channels if not layers[:-1] else 1
            layers[-1] = nn.Conv2d(plain, 1, side, padding=side // 2)
            nn.init.ones_(layers[-1].weight)
    x = torch.ones(1, 2, 64, 64, requires_grad=True)
    nn.Sequential(*layers)(x)[0, 0, 8, 8].backward()
    seen = x.grad[0, 0] != 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == window


def test_one_output_unit_less(chapter: dict) -> None:
    full = metrics.parameters(chapter["paper_scale"]())
    net = chapter["paper_scale"]()
    assert full - sum(p[:1].numel() for p in net[-1].parameters()) == 2_387_458 - 4_609


@pytest.mark.parametrize("kind, channels", [("Basic", 5), ("Product", 15), ("Scaling", 5)])
def test_adversary_takes_any_size(chapter: dict, kind: str, channels: int) -> None:
    critic = chapter["Adversary"](kind, 5)
    assert critic.layers[0].in_channels == channels
    maps, pictures = torch.rand(2, 5, 20, 28), torch.rand(2, 3, 20, 28)
    assert critic.where(maps, pictures).shape == (2, 1, 5, 7)
    assert critic(maps, pictures).shape == (2,)


@pytest.mark.parametrize("kind", ["Basic", "Product", "Scaling"])
@pytest.mark.parametrize("void", [False, True])
def test_a_game_moves_both_nets(chapter: dict, kind: str, void: bool) -> None:
    game, model = chapter["Game"](kind, 0.1), chapter["Segmentor"](7, 5, 8)
    before = [p.clone() for p in game.critic.parameters()]
    values = chapter["adversarial"](game, model, *batch(void))
    assert set(values) == {"loss", "fool", "adversary", "right"}
    values["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, game.critic.parameters()))
    assert all(p.requires_grad for p in game.critic.parameters())


def test_the_segmentors_step_leaves_the_adversary_alone(chapter: dict) -> None:
    game = chapter["Game"]("Basic", 1.0, frozen=True)
    before = [p.clone() for p in game.critic.parameters()]
    values = chapter["adversarial"](game, chapter["Segmentor"](7, 5, 8), *batch())
    values["loss"].backward()
    assert set(values) == {"loss", "fool"}
    assert all(torch.equal(a, b) and b.grad is None
               for a, b in zip(before, game.critic.parameters()))


def test_without_weight_the_gradients_are_those_of_cross_entropy(chapter: dict) -> None:
    features, labels, pictures = batch(void=True)
    model = chapter["Segmentor"](7, 5, 8)
    game = chapter["Game"]("Basic", 0.0)
    loss = chapter["adversarial"](game, model, features, labels, pictures)["loss"]
    ours = torch.autograd.grad(loss, [*model.parameters()])
    plain = F.cross_entropy(model(features), labels, ignore_index=VOID)
    theirs = torch.autograd.grad(plain, [*model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


def test_an_adversary_learns_softness(chapter: dict) -> None:
    """Hard against soft maps: after a few steps it is always right."""
    game = chapter["Game"]("Basic", 0.0, rate=0.005)
    _, labels, pictures = batch()
    soft = 0.6 * one_hot(labels) + 0.4 / 5
    for _ in range(200):
        last = game.learn(soft, one_hot(labels), pictures)
    assert last["right"] == 1 and last["adversary"] < 2 * math.log(2)
