"""What all readers share: where a set lies, how a file is read, what an error says."""

import os
import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from PIL import Image
from torch import Tensor, from_numpy

from ..photos import one_of, whole

VARIABLE = "BOOK_DATA"
Folder = str | Path | None


@dataclass(frozen=True)
class Source:
    """Where a set comes from; `places` may hold it, that with the `marker` does."""
    title: str
    page: str
    layout: str
    terms: str
    splits: list[str]
    places: list[str]
    marker: str
    url: str | None = None
    md5: str | None = None
    files: dict[str, str] | None = None  # md5 of each file


TABLE = tomllib.loads(Path(__file__).with_name("sets.toml").read_text(encoding="utf8"))
SETS = {name: Source(**entry) for name, entry in TABLE.items()}


class DataNotFound(FileNotFoundError):
    """A set, or one of its files, is not where it was looked for."""


class DataCorrupt(ValueError):
    """A file is there, but is truncated, altered or something else."""


def absent(name: str, where: Path, what: str) -> DataNotFound:
    """The error for something of a set that is not in the folder `where`."""
    source = SETS[name]
    get = f'or data.download("{name}")' if source.url else "by hand"
    return DataNotFound(
        f"{source.title}: {what} not found in {where}.\n"
        f"  get it from  {source.page} ({get})\n  layout       {source.layout}\n"
        f"  folder       argument `folder`, else ${VARIABLE}, else ./data; "
        f"a folder {name}/ in it is looked at first\n  terms        {source.terms}")


def corrupt(name: str, file: Path | str, expected: str, found: object) -> DataCorrupt:
    """The error for a file that is not what it should be."""
    return DataCorrupt(f"{file}: expected {expected}, found {found}. "
                       f"Delete it and get it again from {SETS[name].page}")


def _base(folder: Folder) -> Path:
    return Path(folder or os.environ.get(VARIABLE) or "data").expanduser()


def root(name: str, folder: Folder = None, split: str | None = None,
         limit: int | None = None) -> Path:
    """The folder of a set, or DataNotFound; ValueError for a bad name, split, limit."""
    if name not in SETS:
        raise ValueError(f"unknown real data set {name!r}; known: {', '.join(SETS)}")
    if split is not None:
        one_of("split", split, tuple(SETS[name].splits))
    if limit is not None:
        whole("limit", limit, 1)
    base = _base(folder)
    for place in (home / p for home in (base / name, base) for p in SETS[name].places):
        if any(place.glob(SETS[name].marker)):
            return place
    raise absent(name, base.absolute(), "the set")


def pairs(name: str, images: Path, truths: Path, end: str) -> list[tuple[Path, Path]]:
    """Pictures of a folder by name, each with its file truths / (STEM + end)."""
    files = sorted(file for kind in ("*.jpg", "*.png") for file in images.glob(kind))
    if not files:
        raise absent(name, images, "*.jpg or *.png")
    return [(file, truths / f"{file.stem}{end}") for file in files]


def read(name: str, file: Path, expected: str, reader: Callable[[Path], Any],
         shape: tuple[int, ...] = (), md5: str | None = None) -> Any:
    """`reader(file)`, uint8 with the last axes `shape` if given; else DataCorrupt."""
    if not file.is_file():
        raise absent(name, file.parent, file.name)
    if md5 and (found := pooch.file_hash(str(file), alg="md5")) != md5:
        raise corrupt(name, file, f"md5 {md5}", f"md5 {found}")
    try:
        value = reader(file)
        if shape and (value.dtype, value.shape[-len(shape) :]) != (np.uint8, shape):
            raise ValueError(f"{value.dtype} {value.shape}")
    except Exception as error:  # readers of images, .mat and pickles raise anything
        found = f"{file.stat().st_size} bytes that do not read as it ({error})"
        raise corrupt(name, file, expected, found) from error
    return value


def listing(name: str, file: Path, columns: int) -> list[list[str]]:
    """The words of each line of a list, `columns` each; blank lines do not count."""
    def reader(file: Path) -> list[list[str]]:
        rows = [line.split() for line in file.read_text("utf8").splitlines()]
        rows = [row for row in rows if row]
        for row in rows or [[]]:
            if len(row) != columns:
                raise ValueError(f"{len(row)} words in {' '.join(row)!r:.60}")
        return rows

    return read(name, file, f"lines of words, {columns} in each", reader)


def pixels(file: Path, mode: str | None = "RGB", height: int | None = None) -> np.ndarray:
    """A picture, uint8 (H, W, 3); with mode None as stored, as of classes (H, W).

    `height` resizes it: "RGB" by area, other modes by the nearest pixel.
    """
    if height is not None:
        whole("height", height, 1)
    with Image.open(file) as image:
        image = image.convert(mode) if mode else image
        if height:
            size = max(1, round(image.width * height / image.height)), height
            image = image.resize(size, Image.Resampling.BOX if mode == "RGB"
                                 else Image.Resampling.NEAREST)
        return np.array(image)


def planes(image: np.ndarray) -> Tensor:
    """(H, W, 3) -> (3, H, W), contiguous."""
    return from_numpy(image.transpose(2, 0, 1).copy())


def download(name: str, folder: Folder = None) -> Path:
    """Fetch a set whose checksum is known, verify and unpack it; returns its folder.

    A failure leaves nothing: DataNotFound without a checksum, DataCorrupt for a wrong
    one, OSError from the network. A set that is there is left alone.
    """
    try:
        return root(name, folder)
    except DataNotFound:
        source, home = SETS[name], _base(folder) / name
        if source.url is None:
            raise
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        try:
            file = pooch.retrieve(source.url, f"md5:{source.md5}", path=scratch)
            # Python before 3.11.4 has no filter; the checksum vouches for the archive
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            shutil.unpack_archive(file, scratch, **safe)
        except (ValueError, shutil.ReadError) as error:
            raise corrupt(name, source.url, f"md5 {source.md5}", error) from error
        (Path(scratch) / source.places[0]).replace(home / source.places[0])
    return home / source.places[0]
