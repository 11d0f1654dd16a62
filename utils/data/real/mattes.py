"""A photograph with its matte: PyMatting's lemur."""

from functools import partial
from typing import NamedTuple

from torch import Tensor, from_numpy, uint8, where

from .base import Folder, pixels, planes, read, root


class MattedImage(NamedTuple):
    """A photograph I with alpha, F and B, all uint8 from 0 to 255."""
    image: Tensor  # (3, H, W)
    trimap: Tensor  # (H, W), 0 background, 128 unknown, 255 foreground
    alpha: Tensor  # (H, W)
    foreground: Tensor  # (3, H, W)
    background: Tensor  # (3, H, W)


def lemur(folder: Folder = None) -> MattedImage:
    """PyMatting's lemur, 440 x 680: its alpha, F and B are estimates, not measured."""
    place, maps = root("lemur", folder), []
    for end, mode, shape in (("", "RGB", (440, 680, 3)), ("_trimap", "RGB", (440, 680, 3)),
                             ("_alpha", "L", (440, 680)),
                             ("_foreground", "RGB", (440, 680, 3)),
                             ("_background", "RGB", (440, 680, 3))):
        plane = read("lemur", place / f"lemur{end}.png", "a PNG of 680 x 440 pixels",
                     partial(pixels, mode=mode), shape)
        maps.append(planes(plane) if mode == "RGB" else from_numpy(plane))
    marks = maps[1][0]
    maps[1] = where((marks == 0) | (marks == 255), marks, 128).to(uint8)
    return MattedImage(*maps)
