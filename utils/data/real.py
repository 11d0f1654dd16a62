"""Readers for official data sets, in the layout that their authors publish.

A reader looks in `folder`, else the environment variable BOOK_DATA, else ./data, and
returns CPU tensors; errors say what to do. A new set is an entry of sets.toml and a reader.
"""

import os
import pickle
import shutil
import tarfile
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pooch
from PIL import Image
from scipy.io import loadmat
from skimage.io import imread
from torch import Tensor, as_tensor, from_numpy, stack, uint8, where

from .photos import one_of

VARIABLE = "BOOK_DATA"
Folder = str | Path | None

# What the readers return. BSDS500: image uint8 (H, W, 3), and each annotator's lines as
# boundaries uint8 (K, H, W). ISBI 2012: images uint8 (30, 512, 512), masks int64, 1 in
# cells, 0 on membranes. CIFAR-10: images uint8 (N, 3, 32, 32), labels int64 (N,).
EdgeImage = NamedTuple("EdgeImage", [("name", str), ("image", Tensor),
                                     ("boundaries", Tensor)])
Sections = NamedTuple("Sections", [("images", Tensor), ("masks", Tensor)])
LabelledImages = NamedTuple("LabelledImages", [("images", Tensor), ("labels", Tensor),
                                               ("class_names", tuple[str, ...])])
# CamVid: image uint8 (3, H, W), labels int64 (H, W) into CAMVID_CLASSES. DAVIS: frames
# uint8 (T, 3, H, W), masks bool (T, H, W). BCCD: image uint8 (3, H, W), boxes float32
# (k, 4) as x1 y1 x2 y2 with x2, y2 exclusive, labels int64 (k,) into BCCD_CLASSES. Lemur:
# uint8 (3, 440, 680); trimap 0, 128 (unknown) or 255 and alpha 0..255, uint8 (440, 680).
LabelledScene = NamedTuple("LabelledScene", [("name", str), ("image", Tensor),
                                             ("labels", Tensor)])
Sequence = NamedTuple("Sequence", [("name", str), ("frames", Tensor), ("masks", Tensor)])
BoxedImage = NamedTuple("BoxedImage", [("name", str), ("image", Tensor),
                                       ("boxes", Tensor), ("labels", Tensor)])
MattedImage = NamedTuple("MattedImage", [
    ("image", Tensor), ("trimap", Tensor), ("alpha", Tensor), ("foreground", Tensor),
    ("background", Tensor)])
CAMVID_CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence",
                  "car", "pedestrian", "bicyclist", "void")
BCCD_CLASSES = ("background", "RBC", "WBC", "Platelets")


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


TABLE = tomllib.loads(Path(__file__).with_name("sets.toml").read_text(encoding="utf8"))
BATCHES = TABLE["cifar10"].pop("files")  # md5 of CIFAR-10's files
SETS = {name: Source(**entry) for name, entry in TABLE.items()}


class DataNotFound(FileNotFoundError):
    """A set, or one of its files, is not where it was looked for."""


class DataCorrupt(ValueError):
    """A file is there, but is truncated, altered or something else."""


def _absent(name: str, where: Path, what: str) -> DataNotFound:
    source = SETS[name]
    get = f'or data.download("{name}")' if source.url else "by hand"
    return DataNotFound(
        f"{source.title}: {what} not found in {where}.\n"
        f"  get it from  {source.page} ({get})\n  layout       {source.layout}\n"
        f"  folder       argument `folder`, else ${VARIABLE}, else ./data; "
        f"a folder {name}/ in it is looked at first\n  terms        {source.terms}")


def _corrupt(name: str, file: Path | str, expected: str, found: object) -> DataCorrupt:
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
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be None or at least 1, got {limit!r}")
    base = _base(folder)
    for place in (home / p for home in (base / name, base) for p in SETS[name].places):
        if any(place.glob(SETS[name].marker)):
            return place
    raise _absent(name, base.absolute(), "the set")


def pairs(name: str, images: Path, truths: Path, end: str) -> list[tuple[Path, Path]]:
    """Pictures of a folder by name, each with its file truths / (STEM + end)."""
    files = sorted(file for kind in ("*.jpg", "*.png") for file in images.glob(kind))
    if not files:
        raise _absent(name, images, "*.jpg or *.png")
    return [(file, truths / f"{file.stem}{end}") for file in files]


def read(name: str, file: Path, expected: str, reader: Callable[[Path], Any],
         shape: tuple[int, ...] = (), md5: str | None = None) -> Any:
    """`reader(file)`, uint8 with the last axes `shape` if given; else DataCorrupt."""
    if not file.is_file():
        raise _absent(name, file.parent, file.name)
    if md5 and (found := pooch.file_hash(str(file), alg="md5")) != md5:
        raise _corrupt(name, file, f"md5 {md5}", f"md5 {found}")
    try:
        value = reader(file)
        if shape and (value.dtype, value.shape[-len(shape) :]) != (np.uint8, shape):
            raise ValueError(f"{value.dtype} {value.shape}")
    except Exception as error:  # readers of images, .mat and pickles raise anything
        found = f"{file.stat().st_size} bytes that do not read as it ({error})"
        raise _corrupt(name, file, expected, found) from error
    return value


def pixels(file: Path, mode: str | None = "RGB", height: int | None = None) -> np.ndarray:
    """A picture, uint8 (H, W, 3); with mode None as stored, as of classes (H, W).

    `height` resizes it: "RGB" by area, other modes by the nearest pixel.
    """
    with Image.open(file) as image:
        image = image.convert(mode) if mode else image
        if height:
            size = round(image.width * height / image.height), height
            image = image.resize(size, Image.Resampling.BOX if mode == "RGB"
                                 else Image.Resampling.NEAREST)
        return np.array(image)


def bsds500(split: str = "train", folder: Folder = None,
            limit: int | None = None) -> list[EdgeImage]:
    """BSDS500's "train", "val" or "test" by name, the first `limit` images of it."""
    place, items = root("bsds500", folder, split, limit), []
    folders = place / "images" / split, place / "groundTruth" / split
    for file, truth in pairs("bsds500", *folders, ".mat")[:limit]:
        image = read("bsds500", file, "a JPEG", pixels)
        expected = "maps of {} x {} in MATLAB's groundTruth cell".format(*image.shape)
        lines = read("bsds500", truth, expected, _boundaries, image.shape[:2])
        items.append(EdgeImage(file.stem, *map(from_numpy, (image, lines))))
    return items


def _boundaries(file: Path) -> np.ndarray:
    cells = loadmat(file)["groundTruth"][0]
    return np.stack([cell["Boundaries"][0, 0] > 0 for cell in cells]).astype(np.uint8)


def consensus(boundaries: Tensor | np.ndarray, votes: int = 3) -> Tensor:
    """Pixels that enough annotators marked: (K, H, W) to (H, W) bool.

    `votes` is out of five, as in HED; for any K a share of (votes - 0.5) / 5 is enough.
    """
    if not 1 <= votes <= 5:
        raise ValueError(f"votes must be 1 to 5 (of five), got {votes!r}")
    marked = as_tensor(boundaries)
    if marked.ndim != 3 or not len(marked):
        raise ValueError(f"need boundaries (K, H, W), got {tuple(marked.shape)}")
    return 10 * (marked > 0).sum(0) >= (2 * votes - 1) * len(marked)


def isbi2012(folder: Folder = None) -> Sections:
    """The 30 annotated sections of ISBI 2012."""
    place, stacks = root("isbi2012", folder), []
    expected = "a TIFF of 30 pages, 512 x 512, 8 bit"
    for file in (place / "train-volume.tif", place / "train-labels.tif"):
        stacks.append(read("isbi2012", file, expected, imread, (30, 512, 512)))
    if np.unique(stacks[1]).tolist() != [0, 255]:
        raise _corrupt("isbi2012", file, "labels 0 and 255 only", "other values")
    return Sections(from_numpy(stacks[0]), from_numpy(stacks[1]).long() // 255)


def cifar10(split: str = "train", folder: Folder = None, limit: int | None = None, *,
            verify: bool = False) -> LabelledImages:
    """CIFAR-10's "train" (five batches, in order) or "test", the first `limit` images.

    `verify` first compares the official md5 sums, which shortened batches do not pass.
    """
    place = root("cifar10", folder, split, limit)
    meta, *train, test = sorted(BATCHES)
    expected = "a pickle of N x 3072 bytes and N labels, or of ten class names"
    *batches, names = (
        read("cifar10", place / file, expected, _unpickle,
             md5=BATCHES[file] if verify else None)
        for file in (*([test] if split == "test" else train), meta))
    images, labels = (from_numpy(np.concatenate(part)) for part in zip(*batches))
    return LabelledImages(images[:limit], labels[:limit], names)


def _unpickle(file: Path) -> tuple[Any, ...]:
    """Images and labels of a batch, or the names in batches.meta."""
    with file.open("rb") as stream:
        content = _ArraysOnly(stream, encoding="latin1").load()
    if file.name == "batches.meta":
        return tuple(str(content["label_names"][label]) for label in range(10))
    data, labels = np.asarray(content["data"]), np.asarray(content["labels"])
    if data.dtype != np.uint8 or data.shape != (*labels.shape, 3072) or not data.size:
        raise ValueError(f"data {data.dtype} {data.shape}, labels {labels.shape}")
    if not set(labels.tolist()) <= set(range(10)):
        raise ValueError("labels other than 0 to 9")
    return data.reshape(-1, 3, 32, 32), labels.astype(np.int64)


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays and plain values, so that a file cannot call other code."""
    def find_class(self, module: str, name: str) -> Any:
        rebuild = np.empty(0).__reduce__()[0]  # numpy's own, at its private place
        known = {"_reconstruct": rebuild, "ndarray": np.ndarray, "dtype": np.dtype}
        if not module.startswith("numpy") or name not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, refused")
        return known[name]


def camvid(split: str = "train", folder: Folder = None,
           limit: int | None = None) -> list[LabelledScene]:
    """CamVid's "train", "val" or "test" by name, the first `limit` pictures of it."""
    place, items = root("camvid", folder, split, limit), []
    for file, truth in pairs("camvid", place / split, place / f"{split}annot",
                             ".png")[:limit]:
        image = read("camvid", file, "a PNG", pixels)
        labels = read("camvid", truth, "classes 0 to 11, of the picture's size",
                      partial(_classes, most=11), image.shape[:2])
        items.append(LabelledScene(file.stem, _planes(image), from_numpy(labels).long()))
    return items


def _planes(image: np.ndarray) -> Tensor:
    """(H, W, 3) -> (3, H, W), contiguous."""
    return from_numpy(image.transpose(2, 0, 1).copy())


def _classes(file: Path, most: int) -> np.ndarray:
    labels = pixels(file, None)
    if labels.max() > most:
        raise ValueError(f"a label {labels.max()}")
    return labels


def davis2016(split: str = "val", folder: Folder = None, limit: int | None = None, *,
              height: int | None = None) -> list[Sequence]:
    """The sequences of DAVIS 2016's "train" or "val" list, the first `limit` of them.

    `height` reduces frames on reading (480p has 480 rows; frames by area, masks by the
    nearest pixel), which a whole split needs to fit into memory.
    """
    place, sequences = root("davis2016", folder, split, limit), {}
    listed = read("davis2016", place / f"ImageSets/480p/{split}.txt",
                  "lines of two paths", lambda file: [
                      [place / part.lstrip("/") for part in line.split()]
                      for line in file.read_text().splitlines()])
    for frame, mask in listed:
        sequences.setdefault(frame.parent.name, []).append((frame, mask))
    return [_sequence(name, files, height)
            for name, files in list(sequences.items())[:limit]]


def _sequence(name: str, files: list, height: int | None) -> Sequence:
    frames, masks = [], []
    for frame, mask in files:
        image = read("davis2016", frame, "a JPEG", partial(pixels, height=height))
        truth = read("davis2016", mask, "a mask of the frame's size", partial(
            pixels, mode="L", height=height), image.shape[:2])
        frames.append(_planes(image))
        masks.append(from_numpy(truth > 127))
    return Sequence(name, stack(frames), stack(masks))


def bccd(split: str = "train", folder: Folder = None,
         limit: int | None = None) -> list[BoxedImage]:
    """BCCD's "train", "val" or "test" list, the first `limit` pictures of it."""
    place, items = root("bccd", folder, split, limit), []
    names = read("bccd", place / f"ImageSets/Main/{split}.txt", "a name in each line",
                 lambda file: file.read_text().split())
    for name in names[:limit]:
        image = read("bccd", place / f"JPEGImages/{name}.jpg", "a JPEG", pixels)
        boxes, labels = read("bccd", place / f"Annotations/{name}.xml", "boxes in VOC's "
                             "XML", partial(voc_boxes, class_names=BCCD_CLASSES))
        items.append(BoxedImage(name, _planes(image), boxes, labels))
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


def lemur(folder: Folder = None) -> MattedImage:
    """PyMatting's lemur: a photograph whose alpha, F and B are estimates, not measured."""
    place, planes = root("lemur", folder), []
    for end, mode, shape in (("", "RGB", (440, 680, 3)), ("_trimap", "RGB", (440, 680, 3)),
                             ("_alpha", "L", (440, 680)),
                             ("_foreground", "RGB", (440, 680, 3)),
                             ("_background", "RGB", (440, 680, 3))):
        plane = read("lemur", place / f"lemur{end}.png", "a PNG of 680 x 440 pixels",
                     partial(pixels, mode=mode), shape)
        planes.append(_planes(plane) if mode == "RGB" else from_numpy(plane))
    marks = planes[1][0]
    planes[1] = where((marks == 0) | (marks == 255), marks, 128).to(uint8)
    return MattedImage(*planes)


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
            raise _corrupt(name, source.url, f"md5 {source.md5}", error) from error
        (Path(scratch) / source.places[0]).replace(home / source.places[0])
    return home / source.places[0]
