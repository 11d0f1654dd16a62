"""Brain tumour: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
import torch.nn.functional as F

import tagged
from utils import blocks, metrics


@pytest.fixture(scope="module")
def chapter() -> dict:
    space = tagged.namespace("brain-tumor", seed=0)
    space["device"] = torch.device("cpu")
    return space


def net(chapter: dict, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return chapter["TwoPath"](3, 5, **options).eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_maxout_of_one_kernel_is_linear_and_with_a_silent_one_is_relu(chapter: dict) -> None:
    x, y = noise(2, 4, 9, 9), noise(2, 4, 9, 9).flip(0)
    torch.manual_seed(0)
    plain = chapter["Maxout"](4, 6, 3, K=1, bias=False)
    assert torch.allclose(plain(2 * x + y), 2 * plain(x) + plain(y), atol=1e-5)
    double = chapter["Maxout"](4, 6, 3, bias=False)
    double.conv.weight.data[6:] = 0
    expected = F.relu(F.conv2d(x, double.conv.weight[:6]))
    assert torch.allclose(double(x), expected, atol=1e-6)


@pytest.mark.parametrize("K", [2, 3])
def test_maxout_is_the_largest_of_its_kernels_and_convex(chapter: dict, K: int) -> None:
    torch.manual_seed(0)
    layer, x, y = chapter["Maxout"](4, 6, 3, K=K), noise(2, 4, 9, 9), noise(2, 4, 9, 9) ** 2
    each = layer.conv(x).unflatten(1, (K, 6))
    assert layer(x).shape == (2, 6, 7, 7) and torch.equal(layer(x), each.amax(1))
    assert (layer((x + y) / 2) <= (layer(x) + layer(y)) / 2 + 1e-6).all()


def test_sizes_of_the_published_network(chapter: dict) -> None:
    big = chapter["paper_scale"]("")
    with blocks.capture(big, "local.0", "local.1", "wide", "output") as seen:
        big(torch.empty(1, 4, 33, 33, device="meta"))
    sizes = {name: tuple(value.shape[1:]) for name, value in seen.items()}
    assert sizes == {"local.0": (64, 27, 27), "local.1": (64, 22, 22),  # then pools: 24, 21
                     "wide": (160, 21, 21), "output": (5, 1, 1)}


@pytest.mark.parametrize("join, count, everything",
                         [("", 651_488, 809_637), ("input", 802_368, 1_111_397),
                          ("local", 654_368, None), ("output", 662_513, None)])
def test_weights(chapter: dict, join: str, count: int, everything: int | None) -> None:
    scale = chapter["paper_scale"]
    second = lambda made: getattr(made, "second", made)  # noqa: E731
    assert metrics.parameters(second(scale(join, K=1, bias=False))) == count
    assert everything in (None, metrics.parameters(second(scale(join))))


@pytest.mark.parametrize("paths", [{}, {"local": 0}, {"wide": 0}])
def test_one_pass_is_all_patches(chapter: dict, paths: dict) -> None:
    torch.manual_seed(0)
    model, x = chapter["TwoPath"](**{"local": 3, "wide": 5} | paths).eval(), noise(1, 4, 24, 22)
    whole = model(x)
    assert whole.shape == (1, 5, 8, 6)
    for i, j in ((0, 0), (3, 5), (7, 2)):
        alone = model(x[..., i:i + 17, j:j + 17])
        assert torch.allclose(whole[..., i, j], alone[..., 0, 0], atol=1e-5)


@pytest.mark.parametrize("join", ["input", "local", "output"])
def test_cascade_reads_slice_and_answer_and_leaves_the_first_alone(chapter, join) -> None:
    second = net(chapter, join=join)
    places = {"input": 0, "local": 5 + 2 - 2, "output": 9 - 1}
    both = chapter["Cascade"](net(chapter), second)
    cut, x = 16 - places[join], noise(2, 4, 40, 40)
    out = both(x, cut)
    assert out.shape == (2, 5, 40 - 16 - cut, 40 - 16 - cut)
    out.sum().backward()
    assert all(p.grad is None for p in both.first.parameters())
    assert all(p.grad is not None for p in second.parameters())
    with blocks.rewire(both, {"first": torch.zeros_like}):
        assert not torch.allclose(both(x, cut), out)


def test_input_cascade_sees_33_pixels_about_the_middle(chapter: dict) -> None:
    both, x = chapter["Cascade"](net(chapter), net(chapter, join="input")), noise(1, 4, 43, 43)
    calm = both(x)                                               # (1, 5, 11, 11)
    for shift, seen in ((17, False), (-17, False), (16, True), (-16, True)):
        other = x.clone()
        other[..., 21 + shift, 21] += 30
        changed = (both(other)[..., 5, 5] - calm[..., 5, 5]).abs().max() > 1e-7
        assert bool(changed) == seen


def test_phase_two_trains_the_last_layer_only(chapter: dict) -> None:
    model, patch, label = net(chapter), noise(10, 4, 17, 17), torch.arange(10) % 5
    losses = [chapter[name](model, patch, label) for name in ("phase_one", "phase_two")]
    assert torch.allclose(*losses)
    losses[1].backward()
    got = {name for name, p in model.named_parameters() if p.grad is not None}
    assert got == {"output.weight", "output.bias"}


def drawn(chapter: dict, balanced: bool, classes: torch.Tensor) -> tuple:
    """Many patches of maps that hold their own class, of the right half only."""
    inside = torch.zeros_like(classes, dtype=torch.bool)
    inside[..., 10:] = True
    maps = F.pad(classes[:, None].float(), [8] * 4, value=-3.0)
    stream = chapter["Patches"](maps, classes, inside).draw(balanced, 0, 500)
    patch, label = next(stream)
    assert patch.shape == (500, 1, 17, 17) and torch.equal(patch[:, 0, 8, 8], label.float())
    return patch, torch.bincount(label, minlength=5).tolist()


def test_patches_have_their_class_in_the_middle_and_the_asked_mixture(chapter: dict) -> None:
    classes = torch.zeros(2, 20, 20, dtype=torch.long)
    classes[:, 3:5, 12:14] = torch.tensor([[1, 2], [3, 4]])
    assert drawn(chapter, True, classes)[1] == [100] * 5
    _, counts = drawn(chapter, False, classes)
    assert counts[0] > 450 and sum(counts) == 500
    classes[classes == 3] = 0                                    # as in BraTS 2020
    assert drawn(chapter, True, classes)[1] == [125, 125, 125, 0, 125]


def test_log_prior_turns_equal_shares_into_natural_ones() -> None:
    likelihood, natural = torch.rand(5, 50), torch.tensor([0.9, 0.04, 0.03, 0.02, 0.01])
    balanced = (likelihood / 5).log().log_softmax(0)
    corrected = (balanced + natural.log()[:, None]).softmax(0)
    joint = likelihood * natural[:, None]
    assert torch.allclose(corrected, joint / joint.sum(0), atol=1e-5)
