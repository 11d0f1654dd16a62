"""Layers that two or more chapters share; a paper's own idea stays in its chapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


def norm_layer(kind: str | None, channels: int) -> nn.Module:
    """`batch`, `group` (groups of about 4 channels, at least 1) or None."""
    if kind is None:
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        groups = max(g for g in range(1, channels // 4 + 2) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    raise ValueError(f"norm must be 'batch', 'group' or None, not {kind!r}")


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation, ReLU: (N, in, H, W) -> (N, out, H/stride, W/stride).

    `padding=None` keeps the size at stride 1 ("same") for an odd kernel, whatever its
    dilation; 0 is a valid convolution. With `groups` each output sees inputs / groups
    channels. The convolution has a bias only where no normalisation follows to absorb it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1,
                 padding: int | None = None, norm: str | None = "batch",
                 act: bool = True, dilation: int = 1, groups: int = 1) -> None:
        pad = dilation * (kernel // 2) if padding is None else padding
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, pad, dilation, groups,
                      bias=norm is None),
            norm_layer(norm, outputs),
            nn.ReLU(inplace=True) if act else nn.Identity(),
        )


class DoubleConv(nn.Sequential):
    """Two 3x3 ConvNormAct in a row, the unit of VGG and U-Net."""

    def __init__(self, inputs: int, outputs: int, padding: int | None = None,
                 norm: str | None = "batch") -> None:
        super().__init__(
            ConvNormAct(inputs, outputs, padding=padding, norm=norm),
            ConvNormAct(outputs, outputs, padding=padding, norm=norm),
        )


class Bottleneck(nn.Module):
    """ResNet's bottleneck (He et al., CVPR 2016): 1x1, 3x3, 1x1, added to the input.

    (N, inputs, H, W) -> (N, 4 * middle, H / stride, W / stride). The first 1x1 takes the
    stride; the 3x3 may be dilated. A 1x1 convolution carries the input over where the
    number of channels changes.
    """

    def __init__(self, inputs: int, middle: int, stride: int = 1, dilation: int = 1,
                 norm: str | None = "batch") -> None:
        super().__init__()
        outputs = 4 * middle
        self.branch = nn.Sequential(
            ConvNormAct(inputs, middle, 1, stride, norm=norm),
            ConvNormAct(middle, middle, norm=norm, dilation=dilation),
            ConvNormAct(middle, outputs, 1, norm=norm, act=False))
        self.skip = (nn.Identity() if inputs == outputs and stride == 1 else
                     ConvNormAct(inputs, outputs, 1, stride, norm=norm, act=False))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.skip(x))


class Trunk(nn.Module):
    """A small VGG-like encoder: two 3x3 convolutions a stage, 2x2 max pooling between.

    `depths`, if given, is the number of convolutions of each stage: widths 64, 128, 256,
    512, 512 and depths 2, 2, 3, 3, 3 without normalisation are those of VGG-16.
    forward: (N, inputs, H, W) -> list of (N, widths[s], H / 2**s, W / 2**s), rounded up,
    so that any image size works.
    """

    def __init__(self, widths: Sequence[int], inputs: int = 3, norm: str | None = "group",
                 depths: Sequence[int] | None = None) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for width, depth in zip(widths, depths or [2] * len(widths), strict=True):
            sizes = [inputs, *[width] * depth]
            self.stages.append(nn.Sequential(
                *(ConvNormAct(a, b, norm=norm) for a, b in zip(sizes, sizes[1:]))))
            inputs = width

    def forward(self, image: Tensor) -> list[Tensor]:
        features, x = [], image
        for number, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2, ceil_mode=True) if number else x)
            features.append(x)
        return features


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize of (N, C, h, w) to (N, C, *size), pixel centres aligned."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    """Receptive field in pixels of a chain of (kernel, stride) layers.

    Each layer widens the field by (kernel - 1) times the stride that came before it.
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field


def submodules(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """The named submodules, or a ValueError that lists those the model has."""
    modules = dict(model.named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"no submodule {unknown}; the model has {sorted(modules)[1:]}")
    return {name: modules[name] for name in names}


def each_tensor(change: Callable[[Tensor], Any], out: Any) -> Any:
    """`out` with every tensor changed, through lists, tuples (named too) and dicts."""
    if isinstance(out, Tensor):
        return change(out)
    if isinstance(out, Mapping):
        return {key: each_tensor(change, value) for key, value in out.items()}
    if isinstance(out, (list, tuple)):
        parts = [each_tensor(change, part) for part in out]
        return type(out)(*parts) if hasattr(out, "_fields") else type(out)(parts)
    return out


@contextmanager
def capture(model: nn.Module, *names: str) -> Iterator[dict[str, Any]]:
    """Record the outputs of named submodules; the hooks remove themselves.

    An output is kept as the submodule gave it, a tensor or lists, tuples and dicts of
    them, each tensor detached and copied (a later ReLU may overwrite the original). A
    submodule that runs several times leaves its last output.

    >>> with capture(model, "trunk.stages.0") as seen: model(image)
    >>> seen["trunk.stages.0"].shape
    """
    seen: dict[str, Any] = {}
    with ExitStack() as hooks:
        for name, module in submodules(model, names).items():
            def keep(module, given, out, name=name):
                seen[name] = each_tensor(lambda tensor: tensor.detach().clone(), out)

            hooks.callback(module.register_forward_hook(keep).remove)
        yield seen


@contextmanager
def rewire(model: nn.Module, changes: Mapping[str, Callable[[Any], Any]]) -> Iterator[None]:
    """While open, each named submodule gives function(output) instead of its output.

    A ValueError names a submodule that the model lacks, or a function that returns None.
    The hooks remove themselves, also after an exception. An input is rewired at the
    submodule that makes it: give a skip an nn.Identity of its own.

    >>> with rewire(net, {"skip.0": torch.zeros_like}): net(image)
    >>> with rewire(net, {"gate.excite": lambda s: other.expand_as(s)}): net(image)
    """
    with ExitStack() as hooks:
        for name, module in submodules(model, changes).items():
            def replace(module, given, out, name=name):
                if (new := changes[name](out)) is None:
                    raise ValueError(f"the function for {name!r} returned None, no output")
                return new

            hooks.callback(module.register_forward_hook(replace).remove)
        yield


@torch.no_grad()
def shape_probe(model: nn.Module, *inputs: Tensor, depth: int = 1) -> None:
    """Print the output shapes of each submodule, down to `depth`, for one forward pass.

    The model stays as it is: running statistics are updated in a copy.
    """
    rows: list[tuple[str, str]] = []
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            def note(module, given, out, name=name or type(model).__name__):
                shapes: list[str] = []
                each_tensor(lambda tensor: shapes.append(str(tuple(tensor.shape))), out)
                rows.append((name, "  ".join(shapes)))

            if not name or name.count(".") < depth:
                hooks.callback(module.register_forward_hook(note).remove)
        copies = {name: buffer.clone() for name, buffer in model.named_buffers()}
        functional_call(model, copies, inputs)
    width = max(len(name) for name, _ in rows)
    for name, shapes in rows:
        print(f"{name:{width}}  {shapes}")
