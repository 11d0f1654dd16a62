"""Brains: real anatomy, exact labels, splits that lie apart."""

import sys

import numpy as np
import pytest
import torch

from utils import data
from utils.data.brains import (ENHANCING, FIELD, HEIGHTS, LESION, MODALITIES, NAMES, NECROSIS,
                               OEDEMA, OUTSIDE, SOLID, TISSUE, Brains, _field, _template,
                               brains)


@pytest.fixture(scope="module")
def slices() -> Brains:
    return brains(60, seed=3)


def test_types_shapes_and_ranges(slices: Brains) -> None:
    assert len(slices) == 60 and slices.image.shape == (60, 4, 96, 96)
    assert slices.image.dtype == torch.float32 and slices.image.isfinite().all()
    assert slices.classes.shape == slices.inside.shape == (60, 96, 96)
    assert slices.classes.dtype == torch.int64 and slices.inside.dtype == torch.bool
    assert slices.class_names == NAMES and len(NAMES) == 5 and len(MODALITIES) == 4
    assert set(slices.classes.unique().tolist()) == set(range(5))


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (brains(4, seed=s) for s in (1, 1, 2))
    for field in ("image", "classes", "inside", "height"):
        assert torch.equal(getattr(one, field), getattr(two, field))
    assert not torch.equal(one.image, other.image)
    assert not torch.equal(one.image, brains(4, "test", seed=1).image)
    assert torch.equal(data.load("brains", 4, seed=1).image, one.image)


def test_the_template_is_read_as_tissue() -> None:
    template = _template()
    assert set(template) == set(HEIGHTS["train"] + HEIGHTS["test"])
    for volume in template.values():
        assert volume.shape == (5, 197, 233) and volume.dtype == np.float32
        assert 0 <= volume.min() and volume.max() <= 1
        inside = volume[4] > 0
        shares = volume[1:4].sum(0)[inside]
        assert np.quantile(np.abs(shares - 1), 0.99) < 0.02
        t1, white, grey = (volume[k][inside] for k in (0, 1, 2))
        assert t1[white > 0.9].mean() > t1[grey > 0.9].mean()  # as T1 has it


def test_splits_are_slices_apart() -> None:
    gaps = np.abs(np.subtract.outer(HEIGHTS["train"], HEIGHTS["test"]))
    assert gaps.min() >= 4
    for split in ("train", "test"):
        assert set(brains(40, split, 48).height.tolist()) <= set(HEIGHTS[split])


def test_modalities_are_standardised_inside(slices: Brains) -> None:
    for image, inside in zip(slices.image, slices.inside):
        assert 0.35 < inside.float().mean() < 0.75
        for scan in image:
            assert abs(scan[inside].mean()) < 1e-3 and abs(scan[inside].std() - 1) < 1e-3
            assert (scan[~inside] == OUTSIDE).all()


def test_most_of_a_brain_is_healthy_and_lesions_lie_inside(slices: Brains) -> None:
    assert not slices.classes[~slices.inside].any()
    assert 0.9 < (slices.classes[slices.inside] == 0).float().mean() < 0.985
    ill = (slices.classes > 0).flatten(1).any(1).float().mean()
    assert 0.4 < ill < 0.8


def test_the_share_of_the_ill_is_as_asked() -> None:
    assert not brains(12, seed=5, ill=0).classes.any()
    assert (brains(12, seed=5, ill=1).classes > 0).flatten(1).any(1).all()


def test_lesions_are_nested(slices: Brains) -> None:
    """The farther in, the deader: mean distance from the lesion's middle, by class."""
    place = torch.stack(torch.meshgrid(*[torch.arange(96.0)] * 2, indexing="ij"))
    away = {kind: [] for kind in (NECROSIS, OEDEMA, ENHANCING)}
    for classes in slices.classes:
        core = (classes > 0) & (classes != OEDEMA)
        if core.sum() < 20:
            continue
        middle = place[:, core].mean(1)
        for kind in away:
            if (classes == kind).any():
                far = (place[:, classes == kind] - middle[:, None]).norm(dim=0)
                away[kind].append(float(far.mean()))
    means = {kind: np.mean(values) for kind, values in away.items()}
    assert min(map(len, away.values())) >= 8
    assert means[NECROSIS] < means[ENHANCING] < means[OEDEMA]


def test_each_class_shows_where_medicine_says(slices: Brains) -> None:
    where = {kind: (slices.classes == kind) & slices.inside for kind in range(5)}
    seen = {(name, kind): float(slices.image[:, m][where[kind]].mean())
            for m, name in enumerate(MODALITIES) for kind in range(5)}
    assert seen["T1c", ENHANCING] > seen["T1c", SOLID] + 1
    assert seen["FLAIR", OEDEMA] > seen["FLAIR", 0] + 1
    assert seen["T1", NECROSIS] < seen["T1", 0] - 0.5
    assert seen["T2", NECROSIS] > seen["T2", 0] + 1


def test_levels_name_all_modalities_and_classes() -> None:
    assert set(LESION) == set(MODALITIES) and all(len(v) == 4 for v in LESION.values())
    assert set(TISSUE) == {"T2", "FLAIR"}


def test_no_single_threshold_finds_the_enhancing_part(slices: Brains) -> None:
    """Vessels and skin are as bright after the agent as it is, and more frequent."""
    bright = (slices.image[:, MODALITIES.index("T1c")] > 2) & slices.inside
    assert (slices.classes[bright] == ENHANCING).float().mean() < 0.5


def test_smooth_noise_has_unit_variance_and_its_scale() -> None:
    rng = np.random.default_rng(0)
    fine, coarse = (_field(rng, 96, s, 60) for s in (8, 40))
    for field in (fine, coarse):
        assert field.shape == (60, 96, 96) and abs(field.std() - 1) < 0.1
    steps = [np.abs(np.diff(f, axis=2)).mean() for f in (fine, coarse)]
    assert steps[0] > 3 * steps[1]


def test_size_changes_the_grid_only() -> None:
    areas = [float(brains(20, "test", size, seed=4).inside.float().mean()) for size in (48, 96)]
    assert abs(areas[0] - areas[1]) < 0.05 and FIELD == 192


@pytest.mark.parametrize("bad, words", [
    ({"ill": 1.5}, "ill"), ({"noise": -0.1}, "noise"), ({"size": 20}, "size"),
    ({"n": 0}, "n must"), ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        brains(**{"n": 2} | bad)


def test_without_the_template_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)  # as if it were not installed
    _template.cache_clear()
    with pytest.raises(RuntimeError, match="requirements.txt"):
        brains(1)
