"""blocks: layers with the sizes they claim, hooks that see, replace and vanish."""

from collections import namedtuple

import pytest
import torch
from torch import nn

from utils import blocks


@pytest.mark.parametrize("height, width", [(64, 64), (61, 47)])
def test_trunk_halves_and_rounds_up(height: int, width: int) -> None:
    shapes = [f.shape for f in blocks.Trunk([4, 8, 8])(torch.zeros(2, 3, height, width))]
    ceil = lambda n, s: -(-n // 2**s)  # noqa: E731
    assert shapes == [(2, c, ceil(height, s), ceil(width, s))
                      for s, c in enumerate([4, 8, 8])]


def test_trunk_with_depths_is_vgg16() -> None:
    """13 convolutions, 14,714,688 weights; two a stage without depths."""
    with torch.device("meta"):
        vgg = blocks.Trunk([64, 128, 256, 512, 512], norm=None, depths=(2, 2, 3, 3, 3))
    assert sum(p.numel() for p in vgg.parameters()) == 14_714_688
    assert [len(stage) for stage in blocks.Trunk([8, 16]).stages] == [2, 2]
    with pytest.raises(ValueError):
        blocks.Trunk([8, 16], depths=(2,))


def test_bias_only_without_normalisation() -> None:
    assert blocks.ConvNormAct(3, 4)[0].bias is None
    assert blocks.ConvNormAct(3, 4, norm=None)[0].bias is not None
    with pytest.raises(ValueError, match="'batch', 'group' or None"):
        blocks.ConvNormAct(3, 4, norm="layer")


def test_valid_double_conv_loses_four_pixels() -> None:
    out = blocks.DoubleConv(1, 2, padding=0, norm=None)(torch.zeros(1, 1, 20, 30))
    assert out.shape == (1, 2, 16, 26)


@pytest.mark.parametrize("kernel, dilation", [(1, 1), (3, 1), (3, 4), (5, 3)])
def test_dilation_keeps_the_size_and_widens_the_reach(kernel: int, dilation: int) -> None:
    layer = blocks.ConvNormAct(1, 1, kernel, norm=None, act=False, dilation=dilation)
    nn.init.ones_(layer[0].weight)
    image = torch.zeros(1, 1, 31, 31, requires_grad=True)
    out = layer(image)
    assert out.shape == image.shape
    out[0, 0, 15, 15].backward()
    touched = image.grad[0, 0].nonzero()
    extent = touched.max(0).values - touched.min(0).values
    assert extent.tolist() == [dilation * (kernel - 1)] * 2
    assert touched.float().mean(0).tolist() == [15, 15] and len(touched) == kernel**2


def test_groups_see_their_own_channels_only() -> None:
    layer = blocks.ConvNormAct(4, 4, groups=2, norm=None, act=False)
    assert layer[0].weight.shape == (4, 2, 3, 3)
    image = torch.rand(1, 4, 5, 5, requires_grad=True)
    layer(image)[:, :2].sum().backward()
    assert image.grad[:, :2].abs().sum() > 0 and not image.grad[:, 2:].any()


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


def hooks(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in net.modules())


def test_capture_records_and_removes_its_hooks() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with blocks.capture(net, "0") as seen:
        net(torch.zeros(1, 1, 5, 5))
    assert seen["0"].shape == (1, 2, 3, 3) and not seen["0"].requires_grad
    assert hooks(net) == 0
    with (pytest.raises(ValueError, match=r"no submodule \['7'\]; the model has \['0', '1'"),
          blocks.capture(net, "0", "7")):
        pass
    with pytest.raises(KeyError), blocks.capture(net, "0"):
        raise KeyError
    assert hooks(net) == 0


Maps = namedtuple("Maps", "fine coarse")


class Many(nn.Module):
    """Outputs of every kind."""

    def forward(self, x: torch.Tensor) -> dict:
        return {"maps": Maps(x, [x, None]), "scale": 2, "pair": (x, x)}


def test_capture_keeps_lists_tuples_and_dicts() -> None:
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    net = nn.ModuleDict({"trunk": blocks.Trunk([4, 8]), "gru": nn.GRU(3, 5), "many": Many()})
    with blocks.capture(net, "trunk", "gru", "many") as seen:
        features = net.trunk(image)
        net.gru(image[0].flatten(1).T[:, None])                # (64, 1, 3)
        net.many(image)
    assert isinstance(seen["trunk"], list) and len(seen["trunk"]) == 2
    assert all(torch.equal(a, b) for a, b in zip(seen["trunk"], features))
    assert [t.shape for t in seen["gru"]] == [(64, 1, 5), (1, 1, 5)]
    maps = seen["many"]["maps"]
    assert isinstance(maps, Maps) and maps.coarse[1] is None
    assert seen["many"]["scale"] == 2 and isinstance(seen["many"]["pair"], tuple)
    kept = [*seen["trunk"], *seen["gru"], maps.fine, maps.coarse[0], *seen["many"]["pair"]]
    assert not any(t.requires_grad for t in kept)


def test_capture_survives_a_later_relu_in_place() -> None:
    net = blocks.ConvNormAct(1, 4)
    with blocks.capture(net, "1") as seen:
        out = net(torch.rand(2, 1, 8, 8))
    assert seen["1"].min() < 0 and torch.equal(seen["1"].relu(), out)


def test_rewire_replaces_outputs_while_it_is_open() -> None:
    net = nn.Sequential(nn.Identity(), nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()))
    x = torch.rand(3, 2)
    calm = net(x)
    with blocks.rewire(net, {"0": torch.zeros_like, "1.1": lambda gates: gates[:1] * 2}):
        assert torch.equal(net(x), 2 * net[1][0].bias.sigmoid()[None])
        assert hooks(net) == 2
    assert hooks(net) == 0 and torch.equal(net(x), calm)


def test_rewire_works_on_lists_and_inside_capture() -> None:
    net = nn.Sequential(blocks.Trunk([4, 8]))
    with blocks.rewire(net, {"0": lambda maps: maps[:1]}), blocks.capture(net, "0") as seen:
        assert len(net(torch.rand(1, 3, 8, 8))) == len(seen["0"]) == 1


def test_rewire_refuses_and_cleans_up() -> None:
    net = nn.Sequential(nn.Identity(), nn.ReLU())
    with (pytest.raises(ValueError, match=r"no submodule \['gate'\]; the model has \['0'"),
          blocks.rewire(net, {"0": torch.zeros_like, "gate": torch.zeros_like})):
        pass
    with (pytest.raises(ValueError, match="for '0' returned None"),
          blocks.rewire(net, {"0": lambda out: None})):
        net(torch.ones(1))
    assert hooks(net) == 0 and net(torch.ones(1)) == 1


def test_shape_probe_prints_each_part(capsys: pytest.CaptureFixture) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    blocks.shape_probe(net, torch.zeros(1, 1, 5, 5))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["0", "(1, 2, 3, 3)"], ["1", "(1, 2, 3, 3)"], ["Sequential", "(1, 2, 3, 3)"]]
    assert hooks(net) == 0


def test_shape_probe_prints_nested_outputs(capsys: pytest.CaptureFixture) -> None:
    blocks.shape_probe(nn.LSTM(3, 5), torch.zeros(7, 2, 3))
    blocks.shape_probe(nn.Sequential(Many()), torch.zeros(1, 2))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "LSTM  (7, 2, 5)  (1, 2, 5)  (1, 2, 5)"
    assert lines[1].endswith("  ".join(["(1, 2)"] * 4))


@pytest.mark.parametrize("training", [True, False])
def test_shape_probe_leaves_the_model_as_it_is(training: bool) -> None:
    net = nn.Sequential(blocks.ConvNormAct(1, 2), blocks.ConvNormAct(2, 2)).train(training)
    net[1].eval()  # a part that is frozen
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    blocks.shape_probe(net, torch.rand(2, 1, 8, 8), depth=2)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    with pytest.raises(RuntimeError):
        blocks.shape_probe(net, torch.rand(2, 3, 8, 8))
    assert hooks(net) == 0


@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (1, 4)])
def test_bottleneck_has_resnets_shapes_and_weights(stride: int, dilation: int) -> None:
    """64 -> 64, 64, 256: 75,008 weights with the 1x1 that carries the input over."""
    block = blocks.Bottleneck(64, 64, stride, dilation)
    assert block(torch.zeros(2, 64, 17, 12)).shape == (2, 256, -(-17 // stride), 12 // stride)
    convs = 64 * 64 + 9 * 64 * 64 + 64 * 256 + 64 * 256
    norms = 2 * (64 + 64 + 256 + 256)
    assert sum(p.numel() for p in block.parameters()) == convs + norms == 75_008
    assert block.branch[1][0].dilation == (dilation, dilation)
    assert isinstance(blocks.Bottleneck(256, 64).skip, nn.Identity)
    assert not isinstance(blocks.Bottleneck(256, 64, stride=2).skip, nn.Identity)
