"""Deep Image Matting: the cells tagged `model` of the chapter, executed and tested."""

import pytest
import torch
from torch import Tensor, nn

import tagged
from utils import blocks, data, metrics


@pytest.fixture(scope="module")
def dim() -> dict:
    names = tagged.namespace("deep-image-matting", seed=0)
    names["BLIND"] = [3, 4, 12]  # of the 13 channels: both sides of the trimap, the distance
    return names


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def scene(draw: torch.Generator) -> tuple[Tensor, ...]:
    """Guess, alpha (3, 1, 8, 8), F, B (3, 3, 8, 8) in 0..1, and a trimap."""
    guess, alpha = torch.rand(2, 3, 1, 8, 8, generator=draw, dtype=torch.float64)
    front, back = torch.rand(2, 3, 3, 8, 8, generator=draw, dtype=torch.float64)
    marks = torch.randint(0, 3, (3, 1, 8, 8), generator=draw) / 2
    return guess, alpha, front, back, marks


@pytest.fixture(scope="module")
def composites() -> data.Mattes:
    return data.mattes(4, "test", 64, seed=7, blur=1.5)


def test_alpha_is_a_share_of_the_way_from_background_to_foreground(dim, scene) -> None:
    _, alpha, front, back, _ = scene
    assert torch.equal(dim["composite"](torch.ones_like(alpha), front, back), front)
    assert torch.equal(dim["composite"](torch.zeros_like(alpha), front, back), back)
    mixed = dim["composite"](torch.full_like(alpha, 0.25), front, back)
    assert torch.allclose(mixed, back + 0.25 * (front - back))


def test_losses_by_hand(dim) -> None:
    """Two unknown pixels with errors 0.5 and 0.1, |F - B| = 0.4; a known one far off."""
    guess = torch.tensor([0.75, 0.2, 0.0]).view(1, 1, 1, 3)
    alpha = torch.tensor([0.25, 0.3, 1.0]).view(1, 1, 1, 3)
    marks = torch.tensor([0.5, 0.5, 1.0]).view(1, 1, 1, 3)
    front, back = torch.full((1, 3, 1, 3), 0.9), torch.full((1, 3, 1, 3), 0.5)
    image = dim["composite"](alpha, front, back)
    assert dim["alpha_loss"](guess, alpha, marks).item() == pytest.approx(0.3, abs=1e-5)
    found = dim["compositional_loss"](guess, front, back, image, marks)
    assert found.item() == pytest.approx(0.12, abs=1e-5)


def test_losses_are_absolute_not_squared(dim, scene) -> None:
    guess, alpha, _, _, marks = scene
    halved = alpha + (guess - alpha) / 2
    whole, half = (dim["alpha_loss"](g, alpha, marks) for g in (guess, halved))
    assert torch.isclose(whole, 2 * half, rtol=1e-4)
    exact = alpha.clone().requires_grad_()
    dim["alpha_loss"](exact, alpha, marks).backward()
    assert torch.equal(exact.grad, torch.zeros_like(alpha))


def test_compositional_loss_is_a_weighted_alpha_loss(dim, scene) -> None:
    guess, alpha, front, back, marks = scene
    image = dim["composite"](alpha, front, back)
    error = dim["composite"](guess, front, back) - image
    assert torch.allclose(error, (guess - alpha) * (front - back), atol=1e-12)
    loss = dim["compositional_loss"](guess, front, back, image, marks)
    weighted = (guess - alpha).abs() * (front - back).abs().mean(1, keepdim=True)
    assert loss.item() == pytest.approx(weighted[marks == 0.5].mean().item(), abs=2e-6)
    assert loss < dim["alpha_loss"](guess, alpha, marks)


def test_compositional_loss_at_its_two_ends(dim, scene) -> None:
    guess, alpha, front, _, marks = scene
    black, white = torch.zeros_like(front), torch.ones_like(front)
    image = dim["composite"](alpha, black, white)
    loss = dim["compositional_loss"](guess, black, white, image, marks)
    assert torch.isclose(loss, dim["alpha_loss"](guess, alpha, marks), atol=1e-9)
    guess = guess.clone().requires_grad_()
    dim["compositional_loss"](guess, front, front, front, marks).backward()
    assert torch.equal(guess.grad, torch.zeros_like(guess))


def test_losses_ignore_what_is_known(dim, scene) -> None:
    guess, alpha, front, back, marks = scene
    image, other = dim["composite"](alpha, front, back), guess.clone()
    other[marks != 0.5] += 0.3
    for loss, rest in (("alpha_loss", (alpha,)),
                       ("compositional_loss", (front, back, image))):
        assert torch.equal(dim[loss](guess, *rest, marks), dim[loss](other, *rest, marks))
    nothing = torch.zeros_like(marks)
    assert dim["alpha_loss"](guess, alpha, nothing) == 0


def test_unpooling_puts_each_value_where_its_maximum_stood(dim, draw) -> None:
    """The decoder's first layer gets the middle's output at the encoder's last maxima."""
    net = dim["MattingNet"]([(4,), (6,)], [(6, 3)]).eval()
    with blocks.capture(net, "encoder.1", "middle") as seen, torch.no_grad():
        given: list[Tensor] = []
        net.decoder[0].register_forward_pre_hook(lambda _, x: given.append(x[0]))
        net(torch.rand(2, 4, 8, 12, generator=draw))
    _, places = torch.nn.functional.max_pool2d(seen["encoder.1"], 2, return_indices=True)
    expected = torch.nn.functional.max_unpool2d(seen["middle"], places, 2)
    assert torch.equal(given[0], expected)
    assert ((expected != 0).unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2).sum(-1) <= 1).all()


def test_the_blind_network_never_sees_the_picture(dim, draw) -> None:
    seeing, blind = dim["small_net"]().eval(), dim["small_net"](True).eval()
    x = torch.rand(1, 13, 16, 24, generator=draw)
    maps = [torch.rand(1, c, 16 // s, 24 // s, generator=draw)
            for c, s in ((16, 2), (24, 4), (40, 8))]
    other = x.clone()
    other[:, :3] = torch.rand(1, 3, 16, 24, generator=draw)
    other[:, 5:12] = torch.rand(1, 7, 16, 24, generator=draw)
    with torch.no_grad():
        assert torch.equal(blind(x, maps), blind(other, maps[::-1]))
        assert not torch.allclose(seeing(x, maps), seeing(other, maps))
        assert not torch.allclose(seeing(x, maps), seeing(x, [m + 1 for m in maps]))
        found = seeing(x, maps)
    assert found.shape == (1, 1, 16, 24) and 0 < found.min() and found.max() < 1


def test_refinement_starts_as_the_identity_and_leaves_its_base_alone(dim, draw) -> None:
    base = dim["small_net"](True)
    net = dim["Refined"](base)
    x = torch.rand(2, 13, 16, 16, generator=draw)
    assert torch.equal(net.train()(x), base.eval()(x)), "the base stays in evaluation mode"
    before = {k: v.clone() for k, v in net.base.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    net(x).sum().backward()
    optimizer.step()
    assert all(torch.equal(before[k], v) for k, v in net.base.state_dict().items())
    assert not torch.equal(net(x), base(x))


def test_colours_agree_in_every_neighbourhood(dim, draw) -> None:
    """At full overlap the local means are equal; without overlap nothing changes."""
    front, back = 0.3 + 0.4 * torch.rand(2, 1, 3, 48, 48, generator=draw)
    assert torch.equal(dim["agreeing"](front, back, 0.0), front)
    pulled = dim["agreeing"](front, back, 1.0)
    mean = torch.nn.functional.avg_pool2d(back, 33, 1, 16, count_include_pad=False)
    own = torch.nn.functional.avg_pool2d(front, 33, 1, 16, count_include_pad=False)
    assert torch.allclose(pulled, front + mean - own, atol=1e-6)


def test_refinement_sees_nine_pixels(dim, draw) -> None:
    correct = dim["corrector"](8).double()
    for layer in correct.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.uniform_(layer.weight, 0.1, 1)
    x = torch.rand(1, 4, 21, 21, generator=draw, dtype=torch.float64).requires_grad_()
    correct(x)[0, 0, 10, 10].backward()
    ys, xs = (x.grad.abs().sum((0, 1)) > 0).nonzero().T
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (6, 14, 6, 14)
    assert blocks.receptive_field([(3, 1)] * 4) == 9


def test_closed_form_solves_even_colours(dim) -> None:
    alpha = torch.linspace(0, 1, 14).expand(1, 10, 14)
    front, back = (torch.tensor(c)[:, None, None] for c in ([.8, .3, .1], [.2, .2, .7]))
    marks = torch.where((alpha > 0) & (alpha < 1), 0.5, alpha)
    found = dim["closed_form"](dim["composite"](alpha, front, back), marks)
    assert (found - alpha).abs().max() < 2e-3


def test_closed_form_minimises_its_quadratic_form(dim, composites) -> None:
    """The Laplacian kills constants, and the solution has a zero gradient where free."""
    image = composites.image[0, :, 16:40, 16:40]
    marks = data.trimap(composites.alpha[:1, :, 16:40, 16:40], 2)[0]
    windows, entries = dim["laplacian_blocks"](image, marks)
    size = marks.numel()
    L = torch.zeros(size, size, dtype=torch.float64)
    at = torch.from_numpy(windows)
    L.index_put_((at[:, :, None].expand(-1, 9, 9), at[:, None].expand(-1, 9, 9)),
                 torch.from_numpy(entries), accumulate=True)
    assert torch.allclose(L.sum(1), torch.zeros(size, dtype=torch.float64), atol=1e-8)
    u = (marks.flatten() == 0.5).nonzero()[:, 0]
    k = (marks.flatten() != 0.5).nonzero()[:, 0]
    assert len(u) and len(k)
    known = marks.flatten().double()[k]
    exact = torch.linalg.solve(L[u][:, u] + 1e-9 * torch.eye(len(u)), -L[u][:, k] @ known)
    found = dim["closed_form"](image, marks).flatten()
    assert torch.allclose(found[u].double(), exact.clamp(0, 1), atol=1e-4)
    assert torch.equal(found[k].double(), known)


def test_closed_form_keeps_the_trimap(dim, composites) -> None:
    marks = data.trimap(composites.alpha, 3)
    found = dim["each"](composites.image, marks)
    assert torch.equal(found[marks != 0.5], marks[marks != 0.5])
    assert 0 <= found.min() and found.max() <= 1
    solid = composites.alpha[0].round()
    assert torch.equal(dim["closed_form"](composites.image[0], solid), solid), "all known"


def test_published_network(dim) -> None:
    stage, refinement = dim["paper_scale"]().values()
    assert metrics.parameters(stage) == 130_536_897
    assert metrics.parameters(refinement) == 76_801
    assert metrics.parameters(stage.middle[0]) == 512 * 4096 * 49 + 4096
    kernels = [m for m in stage.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert len(kernels) == 13 and metrics.parameters(stage.encoder) == 14_715_264
    lean = dim["paper_scale"](((512, 1), (512, 1)))["stage 1"]
    assert metrics.parameters(lean) == 26_200_001
    image = torch.empty(1, 4, 96, 64, device="meta")
    assert stage(image).shape == (1, 1, 96, 64)
