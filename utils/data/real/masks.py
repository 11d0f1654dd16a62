"""Pictures with a class at each pixel: ISBI 2012, CamVid, Oxford-IIIT Pet, LoveDA."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from skimage.io import imread
from torch import Tensor, from_numpy, tensor

from .base import Folder, corrupt, listing, pairs, pixels, planes, read, root


class Sections(NamedTuple):
    """The sections of ISBI 2012."""
    images: Tensor  # (30, 512, 512) uint8
    masks: Tensor  # (30, 512, 512) int64, 1 in cells, 0 on membranes


class LabelledScene(NamedTuple):
    """A photograph and the class of each pixel."""
    name: str
    image: Tensor  # (3, H, W) uint8
    labels: Tensor  # (H, W) int64 into CAMVID_, PET_ or LOVEDA_CLASSES


CAMVID_CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence",
                  "car", "pedestrian", "bicyclist", "void")
PET_CLASSES = ("background", "pet", "border")
LOVEDA_CLASSES = ("no data", "background", "building", "road", "water", "barren", "forest",
                  "agriculture")
_STORED = tensor([0, 1, 0, 2])  # PET_CLASSES of a trimap's 1 pet, 2 background, 3 border


def isbi2012(folder: Folder = None) -> Sections:
    """The 30 annotated sections of ISBI 2012."""
    place, stacks = root("isbi2012", folder), []
    expected = "a TIFF of 30 pages, 512 x 512, 8 bit"
    for file in (place / "train-volume.tif", place / "train-labels.tif"):
        stacks.append(read("isbi2012", file, expected, imread, (30, 512, 512)))
    if np.unique(stacks[1]).tolist() != [0, 255]:
        raise corrupt("isbi2012", file, "labels 0 and 255 only", "other values")
    return Sections(from_numpy(stacks[0]), from_numpy(stacks[1]).long() // 255)


def camvid(split: str = "train", folder: Folder = None,
           limit: int | None = None) -> list[LabelledScene]:
    """CamVid's "train", "val" or "test" by name, the first `limit` pictures of it."""
    place = root("camvid", folder, split, limit)
    found = pairs("camvid", place / split, place / f"{split}annot", ".png")
    return [_scene("camvid", *files, known=range(12)) for files in found[:limit]]


def oxford_pets(split: str = "trainval", folder: Folder = None,
                limit: int | None = None) -> list[LabelledScene]:
    """The first `limit` cats and dogs of the list "trainval" or "test", or of "all".

    "all" are the pictures in the folder by name, for which no list is needed. A border
    of some pixels about a pet is of neither class; `labels > 0` takes it to the pet.
    """
    place = root("oxford_pets", folder, split, limit)
    images, truths = place / "images", place / "annotations/trimaps"
    if split == "all":
        found = pairs("oxford_pets", images, truths, ".png")
    else:
        rows = listing("oxford_pets", place / f"annotations/{split}.txt", 4)
        found = [(images / f"{row[0]}.jpg", truths / f"{row[0]}.png") for row in rows]
    scenes = (_scene("oxford_pets", *files, known=range(1, 4)) for files in found[:limit])
    return [scene._replace(labels=_STORED[scene.labels]) for scene in scenes]


def loveda(folder: Folder = None, limit: int | None = None) -> list[LabelledScene]:
    """The first `limit` aerial pictures of LoveDA by name, 0.3 m to the pixel."""
    place = root("loveda", folder, limit=limit)
    found = pairs("loveda", place / "img_dir", place / "ann_dir", ".png")
    return [_scene("loveda", *files, known=range(8)) for files in found[:limit]]


def _scene(name: str, file: Path, truth: Path, known: range) -> LabelledScene:
    image = read(name, file, "a picture", pixels)
    expected = f"classes {known[0]} to {known[-1]}, of the picture's size"
    labels = read(name, truth, expected, partial(_classes, known=known), image.shape[:2])
    return LabelledScene(file.stem, planes(image), from_numpy(labels).long())


def _classes(file: Path, known: range) -> np.ndarray:
    labels = pixels(file, None)
    for label in (labels.min(), labels.max()):
        if label not in known:
            raise ValueError(f"a label {label}")
    return labels
