"""Pictures with a mask for each object: Penn-Fudan's pedestrians, COCO's instances."""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, from_numpy

from .base import Folder, corrupt, pairs, pixels, planes, read, root


class Instances(NamedTuple):
    """A picture with k objects, of whatever class."""
    name: str
    image: Tensor  # (3, H, W) uint8
    masks: Tensor  # (k, H, W) bool


def pennfudan(folder: Folder = None, limit: int | None = None) -> list[Instances]:
    """Penn-Fudan's streets with upright pedestrians, the first `limit` pictures.

    Strongly hidden people carry no label there and are background.
    """
    place, items = root("pennfudan", folder, limit=limit), []
    for file, truth in pairs("pennfudan", place / "PNGImages", place / "PedMasks",
                             "_mask.png")[:limit]:
        image = read("pennfudan", file, "a PNG", pixels)
        ids = read("pennfudan", truth, "object numbers of the picture's size",
                   partial(pixels, mode=None), image.shape[:2])
        masks = ids == np.unique(ids[ids > 0])[:, None, None]
        items.append(Instances(file.stem, planes(image), from_numpy(masks)))
    return items


def coco(folder: Folder = None, limit: int | None = None) -> list[Instances]:
    """The first `limit` pictures of COCO's val2017 that have an object; crowds left out."""
    place, items = root("coco", folder, limit=limit), []
    table = place / "annotations/instances_val2017.json"
    listed = read("coco", table, "COCO's JSON of images and annotations", _objects)
    for name, shape, outlines in listed[:limit]:
        image = read("coco", place / "val2017" / name, "a JPEG of the listed size", pixels,
                     (*shape, 3))
        try:
            masks = np.stack([_filled(outline, *shape) for outline in outlines])
        except Exception as error:  # pycocotools raises anything
            raise corrupt("coco", table, f"polygons for {name}", error) from error
        items.append(Instances(Path(name).stem, planes(image), from_numpy(masks)))
    return items


def _objects(file: Path) -> list[tuple[str, tuple[int, int], list]]:
    """(file name, (height, width), the outline of each object) of each picture, by id."""
    listed = json.loads(file.read_text("utf8"))
    outlines: dict[int, list] = {image["id"]: [] for image in listed["images"]}
    for item in listed["annotations"]:
        if not item["iscrowd"]:
            outlines[item["image_id"]].append(item["segmentation"])
    return [(image["file_name"], (image["height"], image["width"]), outlines[image["id"]])
            for image in sorted(listed["images"], key=lambda image: image["id"])
            if outlines[image["id"]]]


def _filled(outline: list, height: int, width: int) -> np.ndarray:
    """A COCO outline (a list of polygons) as a bool mask (height, width)."""
    from pycocotools import mask

    return mask.decode(mask.merge(mask.frPyObjects(outline, height, width))) > 0
