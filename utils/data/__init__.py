"""Data of the book: generated sets by default, official data sets on request.

`load(name, ...)` is the one way in; the modules hold what a chapter may want beyond
it: `photos` (real photographs and materials), `digits.glyphs`, `real.consensus`...
"""

from collections.abc import Callable
from typing import Any

from .cells import Cells, cells
from .digits import Digits, digits, glyphs
from .photos import crop, names, photo, texture
from .real import (
    DataCorrupt,
    DataNotFound,
    EdgeImage,
    bsds500,
    cifar10,
    consensus,
    download,
    isbi2012,
)
from .scenes import Scenes, boundaries, scenes

GENERATED: dict[str, Callable[..., Any]] = {
    "scenes": scenes,
    "digits": digits,
    "cells": cells,
}
REAL: dict[str, Callable[..., Any]] = {
    "bsds500": bsds500,
    "isbi2012": isbi2012,
    "cifar10": cifar10,
}

__all__ = [
    *GENERATED, *REAL, "GENERATED", "REAL", "Cells", "DataCorrupt", "DataNotFound",
    "Digits", "EdgeImage", "Scenes", "boundaries", "consensus", "crop", "download",
    "glyphs", "load", "names", "photo", "texture",
]  # fmt: skip


def load(name: str, *args: Any, **options: Any) -> Any:
    """Load a set by name: `load("scenes", 600, seed=1)`, `load("cifar10", "test")`.

    Everything after the name goes to the function of that name in this package.
    ValueError for an unknown name; DataNotFound for a real set that is not there.
    """
    known = GENERATED | REAL
    if name not in known:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(known)}")
    return known[name](*args, **options)
