"""The readers of official data sets: right counts, clear errors, no harm done."""

import dataclasses
import functools
import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from utils import data
from utils.data import real

PIECES = Path(__file__).parents[2] / "shared" / "data"
needs_pieces = pytest.mark.skipif(
    not PIECES.is_dir(), reason="the pieces of official data are not on this machine"
)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(real.VARIABLE, raising=False)


def content(rows=7):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (rows, 3072), dtype=np.uint8)
    return {"data": pixels, "labels": [i % 10 for i in range(rows)]}


def write_cifar(folder: Path, rows=7) -> Path:
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    for name in real.BATCHES:
        made = content(rows)
        if name == "batches.meta":
            made = {"label_names": [f"class {i}" for i in range(10)]}
        (place / name).write_bytes(pickle.dumps(made, protocol=4))
    return place


def write_bsds(folder: Path, shape=(20, 30), annotators=3, upright=False) -> Path:
    place = folder / "BSDS500" / "data"
    for kind in ("images", "groundTruth"):
        (place / kind / "train").mkdir(parents=True)
    Image.new("RGB", shape[::-1], "red").save(place / "images/train/8.jpg")
    cell = np.empty((1, annotators), object)
    for k in range(annotators):
        lines = np.zeros(shape, np.uint8)
        lines[k, :] = 1
        cell[0, k] = {"Segmentation": lines, "Boundaries": lines}
    cell = cell.T if upright else cell
    savemat(place / "groundTruth/train/8.mat", {"groundTruth": cell})
    return place


@functools.cache
def stack(low, high, pages) -> bytes:
    page = np.full((512, 512), low, np.uint8)
    page[100:200] = high
    images, stream = [Image.fromarray(page) for _ in range(pages)], io.BytesIO()
    images[0].save(stream, "tiff", save_all=True, append_images=images[1:],
                   compression="tiff_deflate")  # fmt: skip
    return stream.getvalue()


def write_isbi(folder: Path, pages=30, labels=(0, 255)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train-volume.tif").write_bytes(stack(0, labels[1], pages))
    (folder / "train-labels.tif").write_bytes(stack(*labels, pages))


# --- the pieces --------------------------------------------------------------


@needs_pieces
@pytest.mark.parametrize("split", ["train", "test"])
def test_bsds500_piece(split):
    images = data.load("bsds500", split, PIECES, limit=15)
    assert len(images) == 15
    assert [i.name for i in images] == sorted(i.name for i in images)
    for item in images:
        size = tuple(item.image.shape)
        assert size in {(321, 481, 3), (481, 321, 3)}
        assert item.image.dtype == item.boundaries.dtype == torch.uint8
        assert 4 < len(item.boundaries) < 10 and item.boundaries.max() == 1
        assert tuple(item.boundaries.shape[1:]) == size[:2]
        agreed = data.consensus(item.boundaries)
        assert agreed.shape == size[:2] and 0 < agreed.float().mean() < 0.1


@needs_pieces
def test_bsds500_limit_and_absent_split():
    names = [i.name for i in data.bsds500("train", PIECES, limit=3)]
    assert names == sorted(names) and len(names) == 3
    with pytest.raises(data.DataNotFound, match="images/val"):
        data.bsds500("val", PIECES)


@needs_pieces
def test_isbi2012_piece():
    images, masks = data.load("isbi2012", PIECES)
    assert images.shape == masks.shape == (30, 512, 512)
    assert images.dtype == torch.uint8 and masks.dtype == torch.int64
    assert masks.unique().tolist() == [0, 1] and 0.7 < masks.float().mean() < 0.9
    inside, membrane = images[masks == 1].float(), images[masks == 0].float()
    assert inside.mean() > membrane.mean() + 20  # membranes are dark


@needs_pieces
@pytest.mark.parametrize(("split", "count"), [("train", 5438), ("test", 1017)])
def test_cifar10_piece(split, count):
    made = data.load("cifar10", split, PIECES)
    assert made.images.shape == (count, 3, 32, 32) and made.images.dtype == torch.uint8
    assert made.labels.dtype == torch.int64 and made.labels.bincount().min() > 80
    assert made.class_names[0] == "airplane" and made.class_names[9] == "truck"
    assert made.labels.bincount(minlength=10).sum() == count
    smooth = made.images.float().diff(dim=3).abs().mean()
    shuffled = made.images.float()[..., torch.randperm(32)].diff(dim=3).abs().mean()
    assert smooth < 0.7 * shuffled  # rows and columns are where they belong


@needs_pieces
def test_cifar10_limit_and_verify():
    few = data.cifar10("train", PIECES, limit=5)
    assert few.images.shape[0] == few.labels.shape[0] == 5
    assert torch.equal(few.images, data.cifar10("train", PIECES).images[:5])
    with pytest.raises(data.DataCorrupt, match="test_batch: expected md5 40351d58"):
        data.cifar10("test", PIECES, verify=True)


@needs_pieces
@pytest.mark.parametrize(("split", "count"), [("train", 66), ("val", 18), ("test", 26)])
def test_camvid_piece(split, count):
    made = data.load("camvid", split, PIECES)
    assert len(made) == count
    assert [m.name for m in made] == sorted(m.name for m in made)
    labels = torch.stack([m.labels for m in made])
    assert labels.shape == (count, 360, 480) and labels.max() == 11
    images = torch.stack([m.image for m in made[:8]]).float()
    assert images.shape[1:] == (3, 360, 480)
    sky, road = (images.mean(1)[labels[:8] == k].mean() for k in (0, 3))
    assert sky > road + 40  # data.CAMVID_CLASSES: 0 is the sky, 3 the road
    rows = torch.arange(360.0)[:, None].expand(360, 480)
    assert rows[labels[0] == 0].mean() < 120 < 200 < rows[labels[0] == 3].mean()


@needs_pieces
def test_davis2016_piece():
    made = data.load("davis2016", "val", PIECES, height=120)
    assert [(m.name, len(m.frames)) for m in made] == [
        ("blackswan", 50), ("car-shadow", 40), ("motocross-jump", 40)]
    for item in made:
        assert item.frames.shape[1:] == (3, 120, round(854 / 4))
        assert item.masks.shape == (len(item.frames), 120, round(854 / 4))
        assert item.masks.dtype == torch.bool and 0.02 < item.masks.float().mean() < 0.3
    one = data.davis2016("val", PIECES, 1)
    assert len(one) == 1 and one[0].frames.shape == (50, 3, 480, 854)
    assert abs(one[0].masks.float().mean() - made[0].masks.float().mean()) < 0.003
    with pytest.raises(data.DataNotFound, match="train.txt"):
        data.davis2016("train", PIECES)


@needs_pieces
def test_bccd_piece():
    parts = [data.load("bccd", split, PIECES) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [36, 12, 12]
    items = [item for part in parts for item in part]
    assert sum(len(item.boxes) for item in items) == 845
    counts = torch.cat([item.labels for item in items]).bincount(minlength=4)
    assert dict(zip(data.BCCD_CLASSES[1:], counts[1:].tolist())) == {
        "RBC": 717, "WBC": 63, "Platelets": 65}
    for item in items:
        assert item.image.shape == (3, 480, 640) and item.boxes.min() >= 0
        assert (item.boxes[:, 2:] > item.boxes[:, :2]).all()
        assert item.boxes[:, 2].max() <= 640 and item.boxes[:, 3].max() <= 480


@needs_pieces
def test_lemur_piece():
    item = data.load("lemur", PIECES)
    assert item.image.shape == (3, 440, 680) and item.trimap.unique().tolist() == [0, 128, 255]
    alpha = item.alpha / 255
    mixed = alpha * item.foreground + (1 - alpha) * item.background
    assert (mixed - item.image).abs().mean() < 1
    assert alpha[item.trimap == 255].min() > 0.9 and alpha[item.trimap == 0].max() < 0.1


@needs_pieces
def test_oxford_pets_piece():
    made = data.load("oxford_pets", "all", PIECES)
    assert len(made) == 5 and [m.name for m in made] == sorted(m.name for m in made)
    for item in made:
        assert item.image.dtype == torch.uint8 and item.labels.dtype == torch.int64
        assert item.image.shape == (3, *item.labels.shape)
        share = item.labels.flatten().bincount(minlength=3) / item.labels.numel()
        assert len(share) == 3 and share.min() > 0.02  # data.PET_CLASSES, all of them
        edge = torch.cat([item.labels[0], item.labels[:, 0], item.labels[:, -1]])
        assert (edge == 0).float().mean() > 0.7  # background is where the frame is
    with pytest.raises(data.DataNotFound, match="trainval.txt"):
        data.oxford_pets("trainval", PIECES)


@needs_pieces
def test_loveda_piece():
    scene, = data.load("loveda", PIECES)
    assert scene.image.shape == (3, 1024, 1024) and scene.labels.shape == (1024, 1024)
    counts = scene.labels.flatten().bincount(minlength=8)
    assert len(counts) == len(data.LOVEDA_CLASSES) == 8 and counts.argmax() > 0
    assert len(data.loveda(PIECES, limit=1)) == 1


# --- where a set is looked for -----------------------------------------------


def test_root_takes_argument_then_variable_then_data(tmp_path, monkeypatch):
    place = write_cifar(tmp_path / "one" / "cifar10")
    assert real.root("cifar10", tmp_path / "one") == place
    assert real.root("cifar10", tmp_path / "one" / "cifar10") == place
    assert real.root("cifar10", place).resolve() == place.resolve()
    monkeypatch.setenv(real.VARIABLE, str(tmp_path / "one"))
    assert real.root("cifar10") == place
    with pytest.raises(data.DataNotFound):
        real.root("cifar10", tmp_path)
    monkeypatch.delenv(real.VARIABLE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").rename(tmp_path / "data")
    assert real.root("cifar10").resolve() == tmp_path / "data/cifar10" / place.name


@pytest.mark.parametrize("name", list(real.SETS))
def test_absent_set_says_what_is_missing_and_where_to_get_it(name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, folder=tmp_path)
    source, text = real.SETS[name], str(caught.value)
    assert isinstance(caught.value, data.DataNotFound)
    for part in (source.title, source.page, source.layout, source.terms,
                 str(tmp_path), real.VARIABLE):  # fmt: skip
        assert part in text
    assert list(tmp_path.iterdir()) == []


def test_unknown_set_and_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="known: bsds500, isbi2012, cifar10"):
        real.root("mnist", tmp_path)
    for call in (data.bsds500, data.cifar10):
        with pytest.raises(ValueError, match="split must be"):
            call("all", tmp_path)
        for limit in (0, -1, 2.5):
            with pytest.raises(ValueError, match="limit must be an integer >= 1"):
                call("train", tmp_path, limit)
    for height in (0, -3, 2.5):  # before anything is looked for
        with pytest.raises(ValueError, match="height must be an integer >= 1"):
            data.davis2016("val", tmp_path, height=height)
        with pytest.raises(ValueError, match="height must be an integer >= 1"):
            real.pixels(tmp_path, height=height)


def test_helpers_pair_pictures_and_read_classes_as_stored(tmp_path):
    for name in ("b", "a"):
        Image.new("RGB", (6, 4), "red").save(tmp_path / f"{name}.jpg")
    classes = Image.new("P", (6, 4), 7)
    classes.putpalette([90, 80, 70] * 256)
    classes.save(tmp_path / "a_truth.png")
    found = real.pairs("cifar10", tmp_path, tmp_path, "_truth.png")
    assert [file.name for file, _ in found] == ["a.jpg", "a_truth.png", "b.jpg"]
    image, truth = found[0]
    assert real.pixels(image).shape == (4, 6, 3)
    stored = functools.partial(real.pixels, mode=None)
    labels = real.read("cifar10", truth, "classes", stored, (4, 6))
    assert labels.tolist() == [[7] * 6] * 4
    with pytest.raises(data.DataCorrupt, match=r"a_truth.png.*\(4, 6\)"):
        real.read("cifar10", truth, "classes", stored, (4, 5))
    with pytest.raises(data.DataNotFound, match="b_truth.png"):
        real.read("cifar10", found[2][1], "classes", stored)


# --- damaged files -----------------------------------------------------------


def damage(file: Path, how: str) -> None:
    if how == "missing":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "empty":
        file.write_bytes(b"")
    else:
        file.write_bytes(b"<html>404 not found</html>" * 40)


def check_damage(file: Path, how: str, name: str, read) -> None:
    damage(file, how)
    before = sorted(file.parent.rglob("*"))
    error = data.DataNotFound if how == "missing" else data.DataCorrupt
    with pytest.raises(error) as caught:
        read()
    assert file.name in str(caught.value)
    assert real.SETS[name].page in str(caught.value)
    assert sorted(file.parent.rglob("*")) == before


HOW = pytest.mark.parametrize("how", ["missing", "truncated", "empty", "html"])


@HOW
@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_damaged_cifar10(tmp_path, name, how):
    place = write_cifar(tmp_path)
    assert len(data.cifar10("train", tmp_path).labels) == 35
    read = functools.partial(data.cifar10, "train", tmp_path)
    check_damage(place / name, how, "cifar10", read)


@HOW
def test_damaged_bsds500_truth(tmp_path, how):
    place = write_bsds(tmp_path)
    item = data.bsds500("train", tmp_path)[0]
    assert item.boundaries.shape == (3, 20, 30) and item.boundaries[1, 1].all()
    read = functools.partial(data.bsds500, "train", tmp_path)
    check_damage(place / "groundTruth/train/8.mat", how, "bsds500", read)


def test_bsds500_reads_annotators_in_a_row_or_in_a_column(tmp_path):
    for upright in (False, True):
        write_bsds(tmp_path / str(upright), upright=upright)
    row, column = (data.bsds500("train", tmp_path / f)[0] for f in ("False", "True"))
    assert column.boundaries.shape == (3, 20, 30)
    assert torch.equal(row.boundaries, column.boundaries)
    write_bsds(tmp_path / "none", annotators=0)
    with pytest.raises(data.DataCorrupt, match="8.mat"):
        data.bsds500("train", tmp_path / "none")


@pytest.mark.parametrize("how", ["truncated", "empty", "html"])
def test_damaged_bsds500_image(tmp_path, how):
    place = write_bsds(tmp_path)
    read = functools.partial(data.bsds500, "train", tmp_path)
    check_damage(place / "images/train/8.jpg", how, "bsds500", read)


@HOW
@pytest.mark.parametrize("name", ["train-volume.tif", "train-labels.tif"])
def test_damaged_isbi2012(tmp_path, name, how):
    write_isbi(tmp_path)
    assert data.isbi2012(tmp_path).masks.sum() == 30 * 100 * 512
    read = functools.partial(data.isbi2012, tmp_path)
    check_damage(tmp_path / name, how, "isbi2012", read)


VOC = """<annotation><object><name>{}</name><bndbox><xmin>1</xmin><ymin>2</ymin>
<xmax>{}</xmax><ymax>4</ymax></bndbox></object></annotation>"""


def write_small(folder: Path) -> dict[str, Path]:
    """One picture of each of the sets below, 8 x 6 pixels; the file to damage of each."""
    def picture(path: str, mode: str, value) -> Path:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (8, 6), value).save(file)
        return file

    picture("CamVid/val/a.png", "RGB", "red")
    picture("DAVIS/JPEGImages/480p/dog/00000.jpg", "RGB", "red")
    picture("BCCD/JPEGImages/a.jpg", "RGB", "red")
    picture("oxford-iiit-pet/images/a.jpg", "RGB", "red")
    picture("loveda/img_dir/a.png", "RGB", "red")
    (folder / "DAVIS/ImageSets/480p").mkdir(parents=True)
    (folder / "DAVIS/ImageSets/480p/val.txt").write_text(
        "/JPEGImages/480p/dog/00000.jpg /Annotations/480p/dog/00000.png\n")
    (folder / "BCCD/ImageSets/Main").mkdir(parents=True)
    (folder / "BCCD/ImageSets/Main/val.txt").write_text("a\n")
    boxes = folder / "BCCD/Annotations/a.xml"
    boxes.parent.mkdir()
    boxes.write_text(VOC.format("WBC", 3))
    trimap = picture("oxford-iiit-pet/annotations/trimaps/a.png", "L", 2)
    Image.fromarray(np.array([[2, 2, 3, 1, 1, 3, 2, 2]] * 6, np.uint8)).save(trimap)
    (trimap.parents[1] / "test.txt").write_text("a 7 2 1\n")
    return {"camvid": picture("CamVid/valannot/a.png", "L", 7), "oxford_pets": trimap,
            "loveda": picture("loveda/ann_dir/a.png", "L", 2),
            "davis2016": picture("DAVIS/Annotations/480p/dog/00000.png", "L", 255),
            "bccd": boxes}


def test_small_sets_read_as_written(tmp_path):
    write_small(tmp_path)
    scene = data.camvid("val", tmp_path)[0]
    assert scene.image.shape == (3, 6, 8) and scene.labels.unique().tolist() == [7]
    tile = data.loveda(tmp_path)[0]
    assert data.LOVEDA_CLASSES[tile.labels.unique().item()] == "building"
    clip = data.davis2016("val", tmp_path)[0]
    assert clip.name == "dog" and clip.masks.shape == (1, 6, 8) and clip.masks.all()
    item = data.bccd("val", tmp_path)[0]
    assert item.boxes.tolist() == [[0, 1, 3, 4]] and item.labels.tolist() == [2]
    listed, found = (data.oxford_pets(s, tmp_path)[0] for s in ("test", "all"))
    assert listed.name == found.name == "a" and listed.image.shape == (3, 6, 8)
    names = [data.PET_CLASSES[k] for k in listed.labels[5, :4]]
    assert names == ["background", "background", "border", "pet"]
    assert torch.equal(listed.labels, found.labels) and listed.labels.shape == (6, 8)


@HOW
@pytest.mark.parametrize("name", ["camvid", "davis2016", "bccd", "oxford_pets", "loveda"])
def test_damaged_truth(tmp_path, name, how):
    file = write_small(tmp_path)[name]
    split = {"oxford_pets": ["all"], "loveda": []}.get(name, ["val"])
    check_damage(file, how, name, functools.partial(data.load, name, *split, tmp_path))


LISTS = {"davis2016": "DAVIS/ImageSets/480p/val.txt", "bccd": "BCCD/ImageSets/Main/val.txt",
         "oxford_pets": "oxford-iiit-pet/annotations/test.txt"}


@pytest.mark.parametrize("name", LISTS)
def test_blank_lines_of_a_list_do_not_count(tmp_path, name):
    write_small(tmp_path)
    file, split = tmp_path / LISTS[name], Path(LISTS[name]).stem
    file.write_text(f"\n{file.read_text()}  \n\n")
    assert len(data.load(name, split, tmp_path)) == 1


@HOW
@pytest.mark.parametrize("name", LISTS)
def test_damaged_list(tmp_path, name, how):
    write_small(tmp_path)
    file, split = tmp_path / LISTS[name], Path(LISTS[name]).stem
    read = functools.partial(data.load, name, split, tmp_path)
    if how == "truncated":  # in the middle of a line
        file.write_text(file.read_text() * 2 + "a b c")
        with pytest.raises(data.DataCorrupt, match=f"{file.name}.*3 words in 'a b c'"):
            read()
    else:
        check_damage(file, how, name, read)


def test_davis2016_frames_of_unequal_size(tmp_path):
    write_small(tmp_path)
    place = tmp_path / "DAVIS"
    Image.new("RGB", (9, 6)).save(place / "JPEGImages/480p/dog/00001.jpg")
    Image.new("L", (9, 6)).save(place / "Annotations/480p/dog/00001.png")
    with (place / "ImageSets/480p/val.txt").open("a") as stream:
        stream.write("/JPEGImages/480p/dog/00001.jpg /Annotations/480p/dog/00001.png\n")
    with pytest.raises(data.DataCorrupt, match=r"00001.jpg.*\(6, 8, 3\).*\(6, 9, 3\)"):
        data.davis2016("val", tmp_path)


def test_davis2016_height_keeps_the_shape(tmp_path):
    write_small(tmp_path)
    for height, width in ((3, 4), (1, 1), (12, 16)):
        clip = data.davis2016("val", tmp_path, height=height)[0]
        assert clip.frames.shape == (1, 3, height, width)
        assert clip.masks.shape == (1, height, width)
    tall = tmp_path / "tall.png"
    Image.new("RGB", (4, 400)).save(tall)
    assert real.pixels(tall, height=1).shape == (1, 1, 3)  # not without a column


def test_truths_that_read_but_are_wrong(tmp_path):
    files = write_small(tmp_path)
    Image.new("L", (8, 6), 12).save(files["camvid"])
    with pytest.raises(data.DataCorrupt, match="a label 12"):
        data.camvid("val", tmp_path)
    for wrong in (0, 4):  # a trimap has 1, 2 and 3
        Image.new("L", (8, 6), wrong).save(files["oxford_pets"])
        with pytest.raises(data.DataCorrupt, match=f"classes 1 to 3.*a label {wrong}"):
            data.oxford_pets("test", tmp_path)
    Image.new("L", (8, 6), 8).save(files["loveda"])
    with pytest.raises(data.DataCorrupt, match="classes 0 to 7.*a label 8"):
        data.loveda(tmp_path)
    Image.new("L", (9, 6)).save(files["davis2016"])
    with pytest.raises(data.DataCorrupt, match="of the frame's size"):
        data.davis2016("val", tmp_path)
    for wrong in (VOC.format("dog", 3), VOC.format("WBC", 0), "<annotation>"):
        files["bccd"].write_text(wrong)
        with pytest.raises(data.DataCorrupt, match="a.xml"):
            data.bccd("val", tmp_path)


def test_files_that_read_but_are_wrong(tmp_path):
    place = write_bsds(tmp_path / "size")
    Image.new("RGB", (31, 20)).save(place / "images/train/8.jpg")
    with pytest.raises(data.DataCorrupt, match="8.mat: expected maps of 20 x 31"):
        data.bsds500("train", tmp_path / "size")
    write_isbi(tmp_path / "short", pages=29)
    with pytest.raises(data.DataCorrupt, match=r"train-volume.tif.*\(29, 512, 512\)"):
        data.isbi2012(tmp_path / "short")
    write_isbi(tmp_path / "grey", labels=(0, 128))
    with pytest.raises(data.DataCorrupt, match="labels 0 and 255 only"):
        data.isbi2012(tmp_path / "grey")


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": [0] * 6},
        {"labels": [10] * 7},
        {"labels": ["cat"] * 7},
        {"labels": None},
        {"data": np.zeros((7, 3000), np.uint8)},
        {"data": np.zeros((7, 3072), np.float32)},
        {"data": "pixels"},
    ],
)
def test_cifar10_batch_with_wrong_content(tmp_path, wrong):
    place = write_cifar(tmp_path)
    (place / "test_batch").write_bytes(pickle.dumps(content() | wrong, protocol=4))
    with pytest.raises(data.DataCorrupt, match="test_batch"):
        data.cifar10("test", tmp_path)


def test_cifar10_with_too_few_names(tmp_path):
    place = write_cifar(tmp_path)
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat"] * 9}))
    with pytest.raises(data.DataCorrupt, match="batches.meta"):
        data.cifar10("test", tmp_path)


class Hostile:
    """A pickle of this would make a file when it is read by pickle.load."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


class Evaluated(Hostile):
    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({str(self.target)!r})",)


@pytest.mark.parametrize("kind", [Hostile, Evaluated])
def test_hostile_pickle_is_refused_and_not_run(tmp_path, kind):
    place, target = write_cifar(tmp_path / "set"), tmp_path / "harm"
    hostile = pickle.dumps(content() | {"labels": kind(target)}, protocol=4)
    (place / "test_batch").write_bytes(hostile)
    with pytest.raises(data.DataCorrupt, match=r"(mkdir|eval), refused"):
        data.cifar10("test", tmp_path / "set")
    assert not target.exists()
    pickle.loads(hostile)  # the file is a real attack: unrestricted, it does run
    assert target.exists()


# --- consensus ---------------------------------------------------------------


def test_consensus_counts_votes_of_five():
    marks = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 0],
                          [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0]])[:, None]  # fmt: skip
    for votes in range(1, 6):
        expected = [n >= votes for n in (1, 2, 3, 4, 5, 0)]
        assert data.consensus(marks, votes)[0].tolist() == expected
    six = torch.tensor([1, 1, 1, 0, 0, 0])[:, None, None]
    assert bool(data.consensus(six))  # half is enough, as the release rounds
    assert not bool(data.consensus(six[1:]))  # two of five are not
    with pytest.raises(ValueError, match="votes"):
        data.consensus(marks, 6)
    with pytest.raises(ValueError, match="K, H, W"):
        data.consensus(marks[0])


# --- download ----------------------------------------------------------------


class Cut(http.server.SimpleHTTPRequestHandler):
    """Serves files, of each no more than the first `cut` bytes."""

    cut: int | None = None
    asked: list[str] = []

    def do_GET(self):
        body = Path(self.translate_path(self.path)).read_bytes()
        type(self).asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """An archive on a local server, registered in place of the official one."""
    write_cifar(tmp_path / "origin")
    archive = tmp_path / "origin/cifar-10-python.tar.gz"
    with tarfile.open(archive, mode="w:gz") as tar:
        tar.add(tmp_path / "origin/cifar-10-batches-py", "cifar-10-batches-py")
    handler = type("Handler", (Cut,), {"asked": [], "cut": None, "archive": archive})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=tmp_path / "origin")
    )
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
    register(monkeypatch, url=url, md5=hashlib.md5(archive.read_bytes()).hexdigest())
    yield handler
    server.shutdown()
    server.server_close()


def register(monkeypatch, **changes) -> None:
    source = dataclasses.replace(real.SETS["cifar10"], **changes)
    monkeypatch.setitem(real.SETS, "cifar10", source)


def test_download_unpacks_what_the_reader_reads(tmp_path, served):
    place = data.download("cifar10", tmp_path)
    assert place == tmp_path / "cifar10/cifar-10-batches-py" == real.root(
        "cifar10", tmp_path
    )
    assert len(data.cifar10("train", tmp_path).labels) == 35
    assert list((tmp_path / "cifar10").iterdir()) == [place]  # no archive, no scraps
    assert data.download("cifar10", tmp_path) == place
    assert len(served.asked) == 1  # what is there is left alone


def test_download_with_a_wrong_checksum_leaves_nothing(tmp_path, served, monkeypatch):
    register(monkeypatch, md5="0" * 32)
    with pytest.raises(data.DataCorrupt, match="expected md5 0000"):
        data.download("cifar10", tmp_path)
    assert list((tmp_path / "cifar10").iterdir()) == []


def test_interrupted_download_leaves_nothing_and_can_be_repeated(tmp_path, served):
    served.cut = 2000
    with pytest.raises((OSError, data.DataCorrupt)):  # as the HTTP library is strict
        data.download("cifar10", tmp_path)
    assert list((tmp_path / "cifar10").iterdir()) == []
    with pytest.raises(data.DataNotFound):
        data.cifar10("train", tmp_path)  # half a download is no data set
    served.cut = None
    place = data.download("cifar10", tmp_path)
    assert list((tmp_path / "cifar10").iterdir()) == [place]


def test_download_of_a_broken_archive_leaves_nothing(tmp_path, served, monkeypatch):
    served.archive.write_bytes(b"no archive")
    register(monkeypatch, md5=hashlib.md5(b"no archive").hexdigest())
    with pytest.raises(data.DataCorrupt, match="cifar-10-python.tar.gz"):
        data.download("cifar10", tmp_path)
    assert list((tmp_path / "cifar10").iterdir()) == []


@pytest.mark.parametrize("name", [k for k, v in real.SETS.items() if v.url is None])
def test_sets_without_a_checksum_are_not_downloaded(tmp_path, name):
    with pytest.raises(data.DataNotFound, match="by hand") as caught:
        data.download(name, tmp_path)
    assert real.SETS[name].page in str(caught.value)
    assert list(tmp_path.iterdir()) == []
