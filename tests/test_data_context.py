"""Scenes whose objects are told apart by their surroundings, and by nothing else."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from utils.data.context import BOXES, KINDS, Context, context


@pytest.fixture(scope="module")
def scenes() -> Context:
    return context(240, "train", seed=3)


def quarters(maps: torch.Tensor) -> torch.Tensor:
    """(N, ..., S, S) -> (N, 2, 2, ..., S/2, S/2)."""
    half = maps.shape[-1] // 2
    cut = maps.unfold(-2, half, half).unfold(-2, half, half)  # (N, ..., 2, 2, h, h)
    return cut.movedim((-4, -3), (1, 2))


def test_types_shapes_and_ranges(scenes: Context) -> None:
    assert len(scenes) == 240 and scenes.image.shape == (240, 3, 96, 96)
    assert scenes.image.dtype == torch.float32 and scenes.image.is_contiguous()
    assert 0 <= scenes.image.min() and scenes.image.max() <= 1
    assert scenes.classes.shape == scenes.fog.shape == (240, 96, 96)
    assert scenes.classes.dtype == torch.int64 and scenes.fog.dtype == torch.bool
    assert scenes.regions.shape == (240, 2, 2) and scenes.kind.shape == (240,)
    assert scenes.class_names == ("no object", "object on grass", "object on brick")


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (context(6, seed=s) for s in (1, 1, 2))
    for field in dataclasses.fields(one)[:-1]:
        assert torch.equal(getattr(one, field.name), getattr(two, field.name))
    assert not torch.equal(one.image, other.image)
    assert not torch.equal(one.image, context(6, "test", seed=1).image)


def test_kinds_are_what_they_say(scenes: Context) -> None:
    assert torch.bincount(scenes.kind).tolist() == [80, 80, 80]
    uniform, halves, free = (scenes.regions[scenes.kind == k] for k in range(3))
    assert (uniform == uniform[:, :1, :1]).all() and len(uniform.unique()) == 2
    assert (halves.sum((1, 2)) == 6).all()  # two of each
    beside = (halves[:, 0] == halves[:, 1]).all(1)
    above = (halves[:, :, 0] == halves[:, :, 1]).all(1)
    assert (beside ^ above).all() and 0.3 < beside.float().mean() < 0.7
    assert len(free.flatten(1).unique(dim=0)) > 12  # of 16 patterns
    for k, kind in enumerate(KINDS):
        assert (context(5, kind=kind).kind == k).all()


def test_labels_are_the_outline_with_the_class_of_the_quarter(scenes: Context) -> None:
    cut = quarters(scenes.classes)  # (N, 2, 2, 48, 48)
    area = sum((b - a) * (d - c) for a, b, c, d in BOXES)  # the boxes do not overlap
    assert ((cut > 0).sum((-2, -1)) == area).all()
    assert torch.equal(cut.amax((-2, -1)), scenes.regions)
    assert torch.equal(torch.where(cut > 0, scenes.regions[..., None, None], 0), cut)


def test_fog_is_wide_and_holds_nothing_of_the_material(scenes: Context) -> None:
    """Within 13 pixels of an object all is fog, in every direction."""
    near = np.ones((27, 27), bool)
    for fog, classes in zip(scenes.fog.numpy()[:40], scenes.classes.numpy()):
        deep = binary_erosion(fog, near)
        assert deep[classes > 0].all()
    swapped = context(240, "train", seed=3, materials=("brick", "grass"))
    assert torch.equal(swapped.classes, scenes.classes)
    inside = scenes.fog[:, None].expand_as(scenes.image)
    assert torch.equal(swapped.image[inside], scenes.image[inside])
    assert not torch.equal(swapped.image, scenes.image)


def test_the_looks_of_an_object_say_nothing_about_its_class(scenes: Context) -> None:
    """Place, brightness and contrast have equal means in both classes (4 errors)."""
    cut, pictures = quarters(scenes.classes) > 0, quarters(scenes.image)
    on = cut[:, :, :, None].float()  # (N, 2, 2, 1, 48, 48)
    mean = (pictures * on).sum((-2, -1)) / on.sum((-2, -1))  # (N, 2, 2, 3)
    spread = ((pictures - mean[..., None, None]) ** 2 * on).sum((-3, -2, -1)).sqrt()
    rows = cut.any(-1).float().argmax(-1).float()
    columns = cut.any(-2).float().argmax(-1).float()
    looks = torch.stack([*mean.movedim(-1, 0), spread, rows, columns], -1)
    first, second = (looks[scenes.regions == k] for k in (1, 2))  # (M, 6)
    error = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt()
    assert ((first.mean(0) - second.mean(0)).abs() < 4 * error).all()
    assert (looks.flatten(0, 2).std(0) > 0).all()


def test_materials_fill_the_rest(scenes: Context) -> None:
    """Grass has the finer detail: neighbouring pixels differ more than in bricks."""
    step = (scenes.image[..., 1:] - scenes.image[..., :-1]).abs().mean(1)
    clear = ~(scenes.fog[..., 1:] | scenes.fog[..., :-1])
    uniform = scenes.kind == 0
    rough = [(step[uniform & (scenes.regions[:, 0, 0] == k)]
              [clear[uniform & (scenes.regions[:, 0, 0] == k)]]).median() for k in (1, 2)]
    assert rough[0] > 1.2 * rough[1]


def test_size_fog_and_noise_are_options() -> None:
    small = context(4, size=64, fog=0.75, noise=0.0, seed=1)
    assert small.image.shape[-1] == 64
    assert small.fog.sum((1, 2)).tolist() == [4 * 24 * 24] * 4
    sky = small.fog & (small.classes == 0)
    assert all(small.image[i][:, sky[i]].std() < 1e-6 for i in range(4))


@pytest.mark.parametrize("bad, words", [
    ({"kind": "thirds"}, "uniform"), ({"materials": ("grass", "grass")}, "different"),
    ({"materials": ("grass", "snow")}, "material"), ({"fog": 1.0}, "fog"),
    ({"noise": -1.0}, "noise"), ({"size": 95}, "even"), ({"size": 20}, "size"),
    ({"n": 0}, "n must"), ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        context(**{"n": 2} | bad)
