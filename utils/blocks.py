"""Layers that two or more chapters share; a paper's own idea stays in its chapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    `padding=None` keeps the size at stride 1 ("same"); 0 is a valid convolution. The
    convolution has a bias only where no normalisation follows to absorb it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1,
                 padding: int | None = None, norm: str | None = "batch",
                 act: bool = True) -> None:
        pad = kernel // 2 if padding is None else padding
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=norm is None),
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


@contextmanager
def capture(model: nn.Module, *names: str) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of named submodules; the hooks remove themselves.

    >>> with capture(model, "trunk.stages.0") as seen: model(image)
    >>> seen["trunk.stages.0"].shape
    """
    modules = dict(model.named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"no submodule {unknown}; the model has {sorted(modules)[1:]}")
    seen: dict[str, Tensor] = {}
    hooks = [
        modules[name].register_forward_hook(
            lambda module, given, out, name=name: seen.__setitem__(name, out.detach())
        )
        for name in names
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def shape_probe(model: nn.Module, *inputs: Tensor, depth: int = 1) -> None:
    """Print the output shape of each submodule, down to `depth`, for one forward pass."""
    rows: list[tuple[str, str]] = []

    def note(name):
        def hook(module, given, out):
            maps = out if isinstance(out, (list, tuple)) else [out]
            if isinstance(out, dict):
                maps = list(out.values())
            rows.append((name, "  ".join(str(tuple(m.shape)) for m in maps)))
        return hook

    hooks = [
        module.register_forward_hook(note(name or type(model).__name__))
        for name, module in model.named_modules()
        if not name or name.count(".") < depth
    ]
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    width = max(len(name) for name, _ in rows)
    for name, shapes in rows:
        print(f"{name:{width}}  {shapes}")
