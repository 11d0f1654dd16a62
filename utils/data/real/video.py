"""Videos with a mask in every frame: DAVIS 2016."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, from_numpy, stack

from ..photos import whole
from .base import Folder, listing, pixels, planes, read, root


class Sequence(NamedTuple):
    """T frames with the mask of one object."""
    name: str
    frames: Tensor  # (T, 3, H, W) uint8
    masks: Tensor  # (T, H, W) bool


def davis2016(split: str = "val", folder: Folder = None, limit: int | None = None, *,
              height: int | None = None) -> list[Sequence]:
    """The sequences of DAVIS 2016's "train" or "val" list, the first `limit` of them.

    `height` in pixels resizes frames on reading (480p has 480 rows; frames by area, masks
    by the nearest pixel), which a whole split needs to fit into memory.
    """
    if height is not None:
        whole("height", height, 1)
    place, sequences = root("davis2016", folder, split, limit), {}
    for paths in listing("davis2016", place / f"ImageSets/480p/{split}.txt", 2):
        frame, mask = (place / path.lstrip("/") for path in paths)
        sequences.setdefault(frame.parent.name, []).append((frame, mask))
    return [_sequence(name, files, height)
            for name, files in list(sequences.items())[:limit]]


def _sequence(name: str, files: list[tuple[Path, Path]], height: int | None) -> Sequence:
    frames, masks, shape = [], [], ()
    for frame, mask in files:
        expected = f"a JPEG of shape {shape} like the first" if shape else "a JPEG"
        image = read("davis2016", frame, expected, partial(pixels, height=height), shape)
        shape = image.shape
        truth = read("davis2016", mask, "a mask of the frame's size", partial(
            pixels, mode="L", height=height), shape[:2])
        frames.append(planes(image))
        masks.append(from_numpy(truth > 127))
    return Sequence(name, stack(frames), stack(masks))
