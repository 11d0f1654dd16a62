"""Readers for official data sets, in the layout that their authors publish.

Nothing here ships with the book. A reader looks in a folder (an argument, else the
environment variable BOOK_DATA, else ./data) and returns CPU tensors. What is absent
raises DataNotFound, what cannot be right raises DataCorrupt; both say what to do.
"""

import hashlib
import os
import pickle
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

VARIABLE = "BOOK_DATA"


@dataclass(frozen=True)
class Source:
    """Where a set comes from; `places` are its folders inside the data folder."""

    title: str
    page: str
    layout: str
    terms: str
    places: tuple[str, ...]
    marker: str
    url: str | None = None
    md5: str | None = None


SETS = {
    "bsds500": Source(
        "BSDS500 (Berkeley Segmentation Data Set)",
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
        "resources.html",
        "BSDS500/data/images/{train,val,test}/ID.jpg and "
        "BSDS500/data/groundTruth/{train,val,test}/ID.mat",
        "research and teaching, see the page; cite Arbelaez et al., TPAMI 33(5), 2011",
        ("BSDS500/data", "BSR/BSDS500/data", "data", "."),
        "groundTruth",
    ),
    "isbi2012": Source(
        "ISBI 2012 electron microscopy challenge",
        "http://brainiac2.mit.edu/isbi_challenge/",
        "train-volume.tif and train-labels.tif, 30 pages of 512 x 512 each",
        "research, see the page; cite Cardona et al., PLoS Biology 8(10), 2010, and "
        "Arganda-Carreras et al., Frontiers in Neuroanatomy 9, 2015",
        (".",),
        "train-*.tif",
    ),
    "cifar10": Source(
        "CIFAR-10, python version",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "cifar-10-batches-py/{data_batch_1..5, test_batch, batches.meta}",
        "no licence stated; cite Krizhevsky, Learning Multiple Layers of Features "
        "from Tiny Images, 2009",
        ("cifar-10-batches-py", "."),
        "*_batch*",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
    ),
}
BATCHES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}


class DataNotFound(FileNotFoundError):
    """A set, or one of its files, is not where it was looked for."""


class DataCorrupt(ValueError):
    """A file is there, but is truncated, altered or something else."""


class EdgeImage(NamedTuple):
    """A BSDS500 image, uint8 (H, W, 3); each annotator's lines, uint8 (K, H, W)."""

    name: str
    image: torch.Tensor
    boundaries: torch.Tensor


class Sections(NamedTuple):
    """ISBI 2012: images uint8 (30, 512, 512), masks int64, 1 inside cells."""

    images: torch.Tensor
    masks: torch.Tensor


class LabelledImages(NamedTuple):
    """CIFAR-10: images uint8 (N, 3, 32, 32), labels int64 (N,), the classes' names."""

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]


def _base(folder: str | Path | None) -> Path:
    return Path(folder or os.environ.get(VARIABLE) or "data").expanduser()


def _source(name: str) -> Source:
    if name not in SETS:
        raise ValueError(f"unknown real data set {name!r}; known: {', '.join(SETS)}")
    return SETS[name]


def _absent(name: str, where: Path, what: str) -> DataNotFound:
    source = _source(name)
    get = f'or data.download("{name}")' if source.url else "by hand"
    return DataNotFound(
        f"{source.title}: {what} not found in {where}.\n"
        f"  get it from  {source.page} ({get})\n"
        f"  layout       {source.layout}\n"
        f"  folder       argument `folder`, else ${VARIABLE}, else ./data; "
        f"a folder {name}/ in it is looked at first\n"
        f"  terms        {source.terms}"
    )


def _corrupt(name: str, file: Path, expected: str, found: object) -> DataCorrupt:
    return DataCorrupt(
        f"{file}: expected {expected}, found {found}. "
        f"Delete it and get it again from {_source(name).page}"
    )


def root(name: str, folder: str | Path | None = None) -> Path:
    """The folder of an official set that holds its files; DataNotFound without it."""
    source, base = _source(name), _base(folder)
    for place in (home / p for home in (base / name, base) for p in source.places):
        if any(place.glob(source.marker)):
            return place
    raise _absent(name, base.absolute(), "the set")


def _guarded(name: str, file: Path, expected: str, read: Callable[[Path], Any]) -> Any:
    """`read(file)`; whatever a damaged file makes it raise becomes one clear error."""
    if not file.is_file():
        raise _absent(name, file.parent, file.name)
    try:
        return read(file)
    except Exception as error:  # readers of images, .mat and pickles raise anything
        found = f"{file.stat().st_size} bytes that do not read as it ({error})"
        raise _corrupt(name, file, expected, found) from error


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be None or at least 1, got {limit!r}")


def bsds500(
    split: str = "train", folder: str | Path | None = None, limit: int | None = None
) -> list[EdgeImage]:
    """BSDS500 images of "train", "val" or "test" by name, at most `limit` of them."""
    if split not in ("train", "val", "test"):
        raise ValueError(f'split must be "train", "val" or "test", got {split!r}')
    _check_limit(limit)
    place = root("bsds500", folder)
    files = sorted((place / "images" / split).glob("*.jpg"))[:limit]
    if not files:
        raise _absent("bsds500", place / "images" / split, "*.jpg")
    return [_edge_image(file, place / "groundTruth" / split) for file in files]


def _edge_image(file: Path, truths: Path) -> EdgeImage:
    image = _guarded("bsds500", file, "a JPEG", _pixels)
    mat = truths / f"{file.stem}.mat"
    lines = _guarded("bsds500", mat, "MATLAB's groundTruth cell", _boundaries)
    if lines.shape[1:] != image.shape[:2]:
        size = "maps of {} x {} like the image".format(*image.shape[:2])
        raise _corrupt("bsds500", mat, size, tuple(lines.shape[1:]))
    return EdgeImage(file.stem, torch.from_numpy(image), torch.from_numpy(lines))


def _pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


def _boundaries(file: Path) -> np.ndarray:
    from scipy.io import loadmat

    cell = loadmat(file)["groundTruth"]
    maps = [cell[0, k]["Boundaries"][0, 0] for k in range(cell.shape[1])]
    return (np.stack(maps) > 0).astype(np.uint8)


def consensus(boundaries: torch.Tensor | np.ndarray, votes: int = 3) -> torch.Tensor:
    """Pixels that enough annotators marked: (K, H, W) to (H, W) bool.

    `votes` counts out of five, as in HED. For another K it is scaled in the way the
    released code rounds: three votes mean a share of at least one half, and v votes
    a share of at least (v - 0.5) / 5.
    """
    if not 1 <= votes <= 5:
        raise ValueError(f"votes must be 1 to 5 (of five), got {votes!r}")
    marked = torch.as_tensor(boundaries)
    if marked.ndim != 3 or not len(marked):
        raise ValueError(f"need boundaries (K, H, W), got {tuple(marked.shape)}")
    return 10 * (marked > 0).sum(0) >= (2 * votes - 1) * len(marked)


def isbi2012(folder: str | Path | None = None) -> Sections:
    """The 30 annotated sections; a label is 1 inside cells, 0 on membranes."""
    place = root("isbi2012", folder)
    expected = "a TIFF of 30 pages, 512 x 512, 8 bit"
    stacks = []
    for file in (place / "train-volume.tif", place / "train-labels.tif"):
        stack = _guarded("isbi2012", file, expected, _pages)
        if stack.shape != (30, 512, 512) or stack.dtype != np.uint8:
            raise _corrupt("isbi2012", file, expected, f"{stack.shape} {stack.dtype}")
        stacks.append(stack)
    if set(np.unique(stacks[1])) != {0, 255}:
        raise _corrupt("isbi2012", file, "labels 0 and 255 only", "other values")
    return Sections(
        torch.from_numpy(stacks[0]), torch.from_numpy((stacks[1] > 0).astype(np.int64))
    )


def _pages(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        pages = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            pages.append(np.array(image))
    return np.stack(pages)


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays and plain values; any other name in the file is refused.

    A pickle can name any function and have it called. These three names are all that
    the official files use; the first is numpy's own, found without its private path.
    """

    _allowed = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, refused")
        return self._allowed[module, name]


def _unpickle(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        content = _ArraysOnly(stream, encoding="latin1").load()
    if not isinstance(content, dict):
        raise TypeError(f"a {type(content).__name__}")
    return content


def _batch(file: Path) -> tuple[np.ndarray, np.ndarray]:
    content = _unpickle(file)
    data, labels = content["data"], content["labels"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        raise ValueError("`data` is no matrix of bytes")
    if data.shape[1] != 3072 or len(data) == 0 or len(labels) != len(data):
        raise ValueError(f"`data` is {data.shape} with {len(labels)} labels")
    labels = np.array(labels)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
        raise ValueError("labels other than the integers 0 to 9")
    return data.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _class_names(file: Path) -> tuple[str, ...]:
    found = _unpickle(file)["label_names"]
    if len(found) != 10 or not all(isinstance(n, str) for n in found):
        raise ValueError(f"label_names {found!r}")
    return tuple(found)


def _official(file: Path) -> None:
    found = hashlib.md5(file.read_bytes()).hexdigest()
    if found != BATCHES[file.name]:
        raise ValueError(f"md5 {found}")


def cifar10(
    split: str = "train",
    folder: str | Path | None = None,
    limit: int | None = None,
    *,
    verify: bool = False,
) -> LabelledImages:
    """CIFAR-10's "train" (five batches, in order) or "test", the first `limit` images.

    Batches may be shorter than the official 10,000 rows. `verify` compares the md5
    sums with the official ones first, which shortened batches do not pass.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    _check_limit(limit)
    place = root("cifar10", folder)
    wanted = ["test_batch"] if split == "test" else sorted(BATCHES)[1:6]
    if verify:
        for file in (*wanted, "batches.meta"):
            _guarded("cifar10", place / file, f"md5 {BATCHES[file]}", _official)
    expected = "a CIFAR-10 batch (pickle of N x 3072 bytes and N labels)"
    read = partial(_guarded, "cifar10", expected=expected, read=_batch)
    images, labels = map(np.concatenate, zip(*(read(place / f) for f in wanted)))
    meta = place / "batches.meta"
    class_names = _guarded("cifar10", meta, "ten class names", _class_names)
    return LabelledImages(
        torch.from_numpy(images[:limit]), torch.from_numpy(labels[:limit]), class_names
    )


def _fetch(url: str, output: str, _: Any = None, part: Path | None = None) -> None:
    """pooch's downloader, made to go on where an interrupted download ended."""
    part = part or Path(output).with_suffix(".part")
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url)
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            resumed = getattr(answer, "status", None) == 206
            length = int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if resumed else "wb") as stream:
                shutil.copyfileobj(answer, stream)
        length += done if resumed else 0
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing is missing any more
            raise
        length = done
    if part.stat().st_size < length:
        raise ConnectionError(f"{url} ended early; call again to go on from there")
    part.replace(output)


def download(name: str, folder: str | Path | None = None) -> Path:
    """Fetch a set whose checksum is known, verify and unpack it; returns its folder.

    A set that is there already is left alone. An interrupted download is resumed by
    the next call; the set's folder appears only when it is complete. DataNotFound
    with the official page for sets that cannot be fetched, DataCorrupt for a file
    whose checksum is wrong (it is removed).
    """
    import pooch

    source, home = _source(name), _base(folder) / name
    if source.url is None:
        raise _absent(name, home, "a checksum to download it by")
    final = home / source.places[0]
    if final.exists():
        return final
    home.mkdir(parents=True, exist_ok=True)
    archive = Path(source.url).name
    fetch = partial(_fetch, part=home / f"{archive}.part")
    try:
        file = pooch.retrieve(
            source.url, f"md5:{source.md5}", fname=archive, path=home, downloader=fetch
        )
    except ValueError as error:
        raise _corrupt(name, home / archive, f"md5 {source.md5}", error) from error
    try:
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            with tarfile.open(file) as tar:
                tar.extractall(scratch, filter="data")
            (Path(scratch) / source.places[0]).replace(final)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise _corrupt(name, home / archive, source.layout, error) from error
    finally:
        Path(file).unlink()
    return final
