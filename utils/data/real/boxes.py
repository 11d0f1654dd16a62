"""Pictures with boxes: BCCD in PASCAL VOC's format, the words of ICDAR 2015."""

import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, as_tensor

from .base import Folder, absent, listing, pixels, planes, read, root


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


class WordImage(NamedTuple):
    """A photograph with k words, in no order."""
    name: str
    image: Tensor  # (3, H, W) uint8
    corners: Tensor  # (k, 4, 2) float32, x y of the four corners of each word, in pixels
    words: list[str]  # what is written; "" where it is not told
    care: Tensor  # (k,) bool, False for what the set calls "do not care"


def icdar2015(folder: Folder = None, limit: int | None = None) -> list[WordImage]:
    """ICDAR 2015's incidental text (challenge 4), the first `limit` training pictures."""
    place, items = root("icdar2015", folder, limit=limit), []
    truths = place / "ch4_training_localization_transcription_gt"
    files = sorted(truths.glob("gt_img_*.txt"), key=lambda f: (len(f.stem), f.stem))
    if not files:
        raise absent("icdar2015", truths, "gt_img_1.txt and so on")
    for file in files[:limit]:
        name = file.stem.removeprefix("gt_")
        image = read("icdar2015", place / f"ch4_training_images/{name}.jpg", "a JPEG", pixels)
        corners, words = read("icdar2015", file, "lines of eight numbers and a word", _words)
        items.append(WordImage(name, planes(image), corners, words,
                               as_tensor([word != "###" for word in words]).bool()))
    return items


def _words(file: Path) -> tuple[Tensor, list[str]]:
    """Corners (k, 4, 2) and words of lines x1,y1,...,x4,y4,word; a word may hold commas."""
    lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    rows = [line.split(",", 8) for line in lines if line]
    for row in rows:
        if len(row) != 9:
            raise ValueError(f"{len(row)} parts in {','.join(row)!r:.60}")
    corners = as_tensor([[float(number) for number in row[:8]] for row in rows])
    return corners.reshape(-1, 4, 2), [row[8].strip() for row in rows]
