"""The reader of BraTS 2020, on small files in its layout: no piece of the set is at hand."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from utils import data
from utils.data.brains import OUTSIDE, Brains
from utils.data.real import SETS, VARIABLE
from utils.data.real.volumes import KINDS

SHAPE, HEIGHTS = (240, 200, 11), [4, 5, 6]  # voxels: right, front, up; slices that are read


@pytest.fixture(autouse=True)
def no_variable(monkeypatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def save(file: Path, volume: np.ndarray, turned: bool = False) -> None:
    """As NIfTI; `turned`: stored from left to right as BraTS does, axes of equal meaning."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if turned else np.eye(4)
    volume = volume[::-1, ::-1] if turned else volume
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), affine), file)


def write(folder: Path, cases: int = 5, turned: bool = False) -> Path:
    """Cases with a box as brain; a nested tumour right of the middle and to the front."""
    brain, seg = np.zeros(SHAPE), np.zeros(SHAPE)
    ramp = 100 + np.arange(SHAPE[0])[:, None, None] % 7
    brain[50:190, 30:170] = np.broadcast_to(ramp, SHAPE)[50:190, 30:170]
    for label, reach in ((2, 20), (4, 12), (1, 6)):
        seg[150 - reach:150 + reach, 130 - reach:130 + reach] = label
    place = folder / "MICCAI_BraTS2020_TrainingData"
    for number in range(1, cases + 1):
        name = f"BraTS20_Training_{number:03}"
        (place / name).mkdir(parents=True)
        for kind in KINDS:
            save(place / name / f"{name}_{kind}.nii.gz", brain + (seg == 4) * 90, turned)
        save(place / name / f"{name}_seg.nii.gz", seg, turned)
    return place


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("brats")
    write(folder)
    return folder


def test_reads_what_was_written(home: Path) -> None:
    made = data.load("brats2020", "train", home)
    assert isinstance(made, Brains) and len(made) == 4 * 3
    assert made.image.shape == (12, 4, 96, 96) and made.image.dtype == torch.float32
    assert made.classes.shape == made.inside.shape == (12, 96, 96)
    assert made.classes.dtype == torch.int64 and made.inside.dtype == torch.bool
    assert made.height.tolist() == HEIGHTS * 4
    assert made.classes.unique().tolist() == [0, 1, 2, 4] and len(made.class_names) == 5
    assert made.inside[0].sum() == 70 * 70  # 140 mm at 2 mm a pixel
    assert (made.classes[0] == 2).sum() == 400 - 144 and (made.classes == 1).any()
    values = made.image[0, 0][made.inside[0]]
    assert abs(values.mean()) < 1e-4 and abs(values.std(unbiased=False) - 1) < 1e-4
    assert (made.image[0][:, ~made.inside[0]] == OUTSIDE).all()


def test_every_fifth_patient_is_for_testing(home: Path) -> None:
    assert len(data.brats2020("test", home)) == 3
    assert len(data.brats2020("train", home, limit=2)) == 6
    with pytest.raises(data.DataNotFound, match="a case of 'test'"):
        data.brats2020("test", write(home / "four", cases=4))


def test_the_nose_is_at_the_top_however_it_is_stored(home: Path, tmp_path: Path) -> None:
    made = data.brats2020("train", home, limit=1)
    y, x = (made.classes[0] > 0).nonzero().float().mean(0).tolist()
    assert y < 48 < x  # to the front is up, to the patient's right is right
    write(tmp_path, cases=1, turned=True)
    turned = data.brats2020("train", tmp_path)
    assert torch.equal(turned.classes, made.classes)
    assert torch.allclose(turned.image, made.image, atol=1e-5)


@pytest.mark.parametrize("size", [32, 64, 120])
def test_size(home: Path, size: int) -> None:
    made = data.brats2020("test", home, size=size)
    assert made.image.shape[-2:] == made.classes.shape[-2:] == (size, size)
    assert made.image.isfinite().all() and (made.classes == 4).any()


@pytest.mark.parametrize("size", [8, 2.5])
def test_bad_size(home: Path, size) -> None:
    with pytest.raises(ValueError, match="size must be an integer >= 16"):
        data.brats2020("test", home, size=size)


@pytest.mark.parametrize("kind", [*KINDS, "seg"])
def test_missing_and_damaged_files(tmp_path: Path, kind: str) -> None:
    name = "BraTS20_Training_001"
    file = write(tmp_path, cases=1) / name / f"{name}_{kind}.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(data.DataCorrupt, match=file.name):
        data.brats2020("train", tmp_path)
    file.unlink()
    with pytest.raises(data.DataNotFound, match=file.name) as caught:
        data.brats2020("train", tmp_path)
    assert SETS["brats2020"].page in str(caught.value)


def test_volumes_that_read_but_are_wrong(tmp_path: Path) -> None:
    name = "BraTS20_Training_001"
    case = write(tmp_path, cases=1) / name
    save(case / f"{name}_seg.nii.gz", np.full(SHAPE, 3))
    with pytest.raises(data.DataCorrupt, match="labels 0, 1, 2 and 4"):
        data.brats2020("train", tmp_path)
    save(case / f"{name}_seg.nii.gz", np.zeros(SHAPE))
    save(case / f"{name}_t2.nii.gz", np.zeros((9, 9, 11)))
    with pytest.raises(data.DataCorrupt, match=r"t2.nii.gz.*\(9, 9, 11\)"):
        data.brats2020("train", tmp_path)
    for kind in KINDS:
        save(case / f"{name}_{kind}.nii.gz", np.zeros(SHAPE))
    with pytest.raises(data.DataCorrupt, match="a brain at half the height"):
        data.brats2020("train", tmp_path)


def test_a_modality_of_one_value_is_no_division_by_zero(tmp_path: Path) -> None:
    name = "BraTS20_Training_001"
    place = write(tmp_path, cases=1)
    flat = np.zeros(SHAPE)
    flat[50:190, 30:170] = 100
    save(place / name / f"{name}_t1.nii.gz", flat)
    made = data.brats2020("train", tmp_path)
    assert made.image.isfinite().all() and (made.image[0, 0][made.inside[0]] == 0).all()
