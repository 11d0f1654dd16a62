"""Data of the book: generated sets by default, official data sets on request.

`load(name, ...)` is the one way in; the modules hold what a chapter may want beyond
it: `photos` (real photographs and materials), `digits.glyphs`, `real.consensus`...
"""

from typing import Any

from .aerial import Aerial, aerial
from .brains import Brains, brains
from .cells import Cells, cells
from .city import City, city
from .clips import Clips, clips
from .context import Context, context
from .digits import Digits, digits, glyphs
from .mattes import Mattes, mattes, trimap
from .nested import Nested, nested
from .photos import crop, names, photo, photographs, texture
from .real import (BCCD_CLASSES, CAMVID_CLASSES, LOVEDA_CLASSES, PET_CLASSES, DataCorrupt,
                   DataNotFound, EdgeImage, bccd, brats2020, bsds500, camvid, cifar10, coco,
                   consensus, davis2016, download, icdar2015, isbi2012, lemur, loveda,
                   oxford_pets, pennfudan)
from .scenes import Scenes, boundaries, scenes
from .strokes import Strokes, strokes
from .wires import Wires, wires
from .words import Words, words

GENERATED = {"scenes": scenes, "digits": digits, "cells": cells, "clips": clips,
             "mattes": mattes, "context": context, "nested": nested,
             "aerial": aerial, "city": city, "wires": wires,
             "strokes": strokes, "words": words,
             "brains": brains}
REAL = {"bsds500": bsds500, "isbi2012": isbi2012, "cifar10": cifar10, "camvid": camvid,
        "oxford_pets": oxford_pets, "davis2016": davis2016, "bccd": bccd, "lemur": lemur,
        "loveda": loveda, "brats2020": brats2020, "pennfudan": pennfudan, "coco": coco,
        "icdar2015": icdar2015}


def load(name: str, *args: Any, **options: Any) -> Any:
    """Call a set's function by name, as in `load("cifar10", "test", limit=100)`."""
    known = GENERATED | REAL
    if name not in known:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(known)}")
    return known[name](*args, **options)
