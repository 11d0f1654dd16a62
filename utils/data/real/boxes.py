"""Pictures with boxes in PASCAL VOC's format: BCCD."""

import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, as_tensor

from .base import Folder, listing, pixels, planes, read, root


class BoxedImage(NamedTuple):
    """A picture with k boxes."""
    name: str
    image: Tensor  # (3, H, W) uint8
    boxes: Tensor  # (k, 4) float32, x1 y1 x2 y2 in pixels; x2, y2 are exclusive
    labels: Tensor  # (k,) int64 into BCCD_CLASSES


BCCD_CLASSES = ("background", "RBC", "WBC", "Platelets")


def bccd(split: str = "train", folder: Folder = None,
         limit: int | None = None) -> list[BoxedImage]:
    """BCCD's "train", "val" or "test" list, the first `limit` pictures of it."""
    place, items = root("bccd", folder, split, limit), []
    for (name,) in listing("bccd", place / f"ImageSets/Main/{split}.txt", 1)[:limit]:
        image = read("bccd", place / f"JPEGImages/{name}.jpg", "a JPEG", pixels)
        boxes, labels = read("bccd", place / f"Annotations/{name}.xml", "boxes in VOC's "
                             "XML", partial(voc_boxes, class_names=BCCD_CLASSES))
        items.append(BoxedImage(name, planes(image), boxes, labels))
    return items


def voc_boxes(file: Path, class_names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Boxes (k, 4) and labels (k,) of a PASCAL VOC annotation.

    VOC counts pixels from 1 and includes the last one; here a box is x1 y1 x2 y2 from 0
    with x2, y2 exclusive. A ValueError for an unknown class or an empty box.
    """
    boxes, labels = [], []
    for item in ElementTree.parse(file).getroot().iter("object"):
        box = [float(item.find(f"bndbox/{k}").text) for k in
               ("xmin", "ymin", "xmax", "ymax")]
        boxes.append([box[0] - 1, box[1] - 1, *box[2:]])
        labels.append(class_names.index(item.findtext("name")))
        if boxes[-1][2] <= boxes[-1][0] or boxes[-1][3] <= boxes[-1][1]:
            raise ValueError(f"an empty box {box}")
    return as_tensor(boxes).reshape(-1, 4), as_tensor(labels).long()
