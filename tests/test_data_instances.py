"""Readers of Penn-Fudan and COCO, with a mask for each object, and of ICDAR's words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from utils import data

PIECES = Path(__file__).parents[2] / "shared" / "data"
needs_pieces = pytest.mark.skipif(
    not PIECES.is_dir(), reason="the pieces of official data are not on this machine")


@needs_pieces
def test_pennfudan_piece():
    made = data.load("pennfudan", PIECES)
    assert len(made) == 5 and sum(len(item.masks) for item in made) == 8
    assert [item.name for item in made] == sorted(item.name for item in made)
    for item in made:
        assert item.image.dtype == torch.uint8 and item.masks.dtype == torch.bool
        assert item.image.shape[1:] == item.masks.shape[1:]
        assert (item.masks.sum(0) <= 1).all()  # people do not share pixels
        for mask in item.masks:  # they stand upright
            rows, columns = mask.any(1).sum(), mask.any(0).sum()
            assert rows > 1.5 * columns
    assert len(data.pennfudan(PIECES, limit=2)) == 2


@needs_pieces
def test_coco_piece():
    made = data.load("coco", PIECES)
    assert [int(item.name) for item in made] == [128372, 194216, 343934, 404249, 464689]
    assert sum(len(item.masks) for item in made) == 35  # 36 and one crowd
    listed = json.loads((PIECES / "coco/annotations/instances_val2017.json").read_text())
    for item in made:
        assert item.image.shape[1:] == item.masks.shape[1:]
        areas = [a["area"] for a in listed["annotations"]
                 if a["image_id"] == int(item.name) and not a["iscrowd"]]
        found = item.masks.sum((1, 2)).double()
        assert torch.allclose(found, torch.tensor(areas).double(), rtol=0.1, atol=30)


def write_both(folder: Path) -> tuple[Path, Path]:
    """One picture of each set with two objects; returns the files of the truth."""
    for place in ("PennFudanPed/PNGImages", "PennFudanPed/PedMasks", "coco/val2017",
                  "coco/annotations"):
        (folder / place).mkdir(parents=True)
    Image.new("RGB", (8, 6), "red").save(folder / "PennFudanPed/PNGImages/a.png")
    ids = np.zeros((6, 8), np.uint8)
    ids[1:4, 1:3], ids[2:5, 5:7] = 1, 2
    people = folder / "PennFudanPed/PedMasks/a_mask.png"
    Image.fromarray(ids).save(people)
    Image.new("RGB", (8, 6), "red").save(folder / "coco/val2017/b.jpg")
    table = folder / "coco/annotations/instances_val2017.json"
    table.write_text(json.dumps({
        "images": [{"id": 7, "file_name": "b.jpg", "height": 6, "width": 8},
                   {"id": 3, "file_name": "none.jpg", "height": 6, "width": 8}],
        "annotations": [
            {"image_id": 7, "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]},
            {"image_id": 7, "iscrowd": 0, "segmentation": [[5, 0, 8, 0, 8, 2, 5, 2],
                                                           [5, 4, 8, 4, 8, 6, 5, 6]]},
            {"image_id": 3, "iscrowd": 1, "segmentation": {}}]}))
    return people, table


def test_small_sets_read_as_written(tmp_path):
    write_both(tmp_path)
    people, = data.pennfudan(tmp_path)
    assert people.image.shape == (3, 6, 8) and people.masks.sum((1, 2)).tolist() == [6, 6]
    assert people.masks[0, 1:4, 1:3].all() and people.masks[1, 2:5, 5:7].all()
    item, = data.coco(tmp_path)  # the picture with a crowd alone has no object
    assert item.name == "b" and item.masks.sum((1, 2)).tolist() == [6, 12]
    assert item.masks[0, 1:3, 1:4].all() and item.masks[1, 4:, 5:].all()


def test_truths_that_are_wrong(tmp_path):
    people, table = write_both(tmp_path)
    Image.new("L", (9, 6)).save(people)
    with pytest.raises(data.DataCorrupt, match="a_mask.png.*picture's size"):
        data.pennfudan(tmp_path)
    people.unlink()
    with pytest.raises(data.DataNotFound, match="a_mask.png not found"):
        data.pennfudan(tmp_path)
    good = table.read_text()
    for wrong, said in (('{"images": []}', "COCO's JSON"), ("<html>", "COCO's JSON"),
                        (good.replace("[[1, 1, 4", '["x", [1, 4'), "polygons for b.jpg"),
                        (good.replace('"height": 6', '"height": 9'), "the listed size")):
        table.write_text(wrong)
        with pytest.raises(data.DataCorrupt, match=said):
            data.coco(tmp_path)
    table.write_text(good)
    (tmp_path / "coco/val2017/b.jpg").unlink()
    with pytest.raises(data.DataNotFound, match="b.jpg not found"):
        data.coco(tmp_path)
    with pytest.raises(ValueError, match="limit"):
        data.coco(tmp_path, limit=0)


@needs_pieces
def test_icdar2015_piece():
    made = data.load("icdar2015", PIECES)
    assert [item.name for item in made] == ["img_1", "img_2"]
    for item in made:
        assert item.image.shape == (3, 720, 1280)
        assert len(item.corners) == len(item.words) == len(item.care) > 0
        assert item.corners.shape[1:] == (4, 2) and item.corners.min() >= 0
        assert (item.corners.amax((0, 1)) <= torch.tensor([1280, 720])).all()
    first = made[0]
    assert first.words[:3] == ["Genaxis Theatre", "[06]", "###"]
    assert first.care[:3].tolist() == [True, True, False]
    assert first.corners[0].tolist() == [[377, 117], [463, 117], [465, 130], [378, 130]]


def test_icdar2015_as_written(tmp_path):
    images, truths = (tmp_path / name for name in (
        "ch4_training_images", "ch4_training_localization_transcription_gt"))
    images.mkdir(), truths.mkdir()
    for number in (2, 10):
        Image.new("RGB", (8, 6)).save(images / f"img_{number}.jpg")
    (truths / "gt_img_10.txt").write_text("", "utf8")
    words = "0,0,4,0,4,2,0,2,a, b\r\n1,1,2,1,2,2,1,2,###\r\n"
    (truths / "gt_img_2.txt").write_text(words, "utf-8-sig")
    made = data.icdar2015(tmp_path)
    assert [item.name for item in made] == ["img_2", "img_10"]  # by number
    assert made[0].words == ["a, b", "###"] and made[0].care.tolist() == [True, False]
    assert made[1].corners.shape == (0, 4, 2) and made[1].care.shape == (0,)
    assert len(data.icdar2015(tmp_path, limit=1)) == 1
    for wrong in ("1,2,3\n", "a,0,4,0,4,2,0,2,word\n"):
        (truths / "gt_img_2.txt").write_text(wrong)
        with pytest.raises(data.DataCorrupt, match="gt_img_2.txt.*eight numbers"):
            data.icdar2015(tmp_path)
    for file in truths.iterdir():
        file.unlink()
    with pytest.raises(data.DataNotFound, match="gt_img_1.txt and so on not found"):
        data.icdar2015(tmp_path)
