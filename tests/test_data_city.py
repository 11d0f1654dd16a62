"""City scenes: the labels obey the rules, and the counts find what breaks them."""

import numpy as np
import pytest
import torch

from utils import data
from utils.data.city import (GROUND, HOUSE, LOOKS, NAMES, SKY, TREE, WINDOW, City, astray,
                             city, outside, pieces)


@pytest.fixture(scope="module")
def scenes() -> City:
    return city(120, "train", seed=3)


def test_types_shapes_and_ranges(scenes: City) -> None:
    assert len(scenes) == 120 and scenes.image.shape == (120, 3, 64, 64)
    assert scenes.image.dtype == torch.float32 and scenes.image.is_contiguous()
    assert 0 <= scenes.image.min() <= scenes.image.max() <= 1
    assert scenes.classes.shape == (120, 64, 64) and scenes.classes.dtype == torch.int64
    assert scenes.class_names == NAMES and scenes.classes.unique().tolist() == [*range(5)]


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (city(6, seed=s) for s in (1, 1, 2))
    for field in ("image", "classes"):
        assert torch.equal(getattr(one, field), getattr(two, field))
        assert not torch.equal(getattr(one, field), getattr(other, field))
    assert not torch.equal(one.classes, city(6, "test", seed=1).classes)
    assert torch.equal(data.load("city", 6, seed=1).image, one.image)


@pytest.mark.parametrize("size, step", [(48, 1), (64, 1), (64, 2), (96, 2)])
def test_labels_obey_the_rules(size: int, step: int) -> None:
    """At full size and, from 64 pixels on, at half of it."""
    classes = city(150, "test", size, seed=4).classes[:, ::step, ::step]
    broken, windows = outside(classes)
    assert broken.sum() == 0 and windows.sum() > 300
    assert pieces(classes, (SKY,)).max() <= 4  # what stands there may cut the sky
    assert (classes[:, 0] == GROUND).sum() == 0 and (classes[:, -1] == SKY).sum() == 0


def test_houses_are_closed_rectangles() -> None:
    classes = city(60, seed=5, houses=1.0).classes
    whole = torch.where(classes == WINDOW, HOUSE, classes)
    assert not (classes == TREE).any()
    for scene, houses in zip(whole, pieces(whole, (HOUSE,))):
        columns = scene == HOUSE
        tops = columns.float().argmax(0)[columns.any(0)]
        assert (columns.int().diff(dim=0) == -1).sum() <= columns.any(0).sum()
        assert len(tops.unique()) <= houses


def test_shares_of_houses() -> None:
    none, all_ = (city(40, seed=6, houses=share).classes for share in (0.0, 1.0))
    assert set(none.unique().tolist()) == {SKY, GROUND, TREE}
    assert set(all_.unique().tolist()) == {SKY, GROUND, HOUSE, WINDOW}


def test_every_material_is_shared_or_one_of_two() -> None:
    assert len(LOOKS) == len(NAMES) and all(len(set(two)) == 2 for two in LOOKS)
    used = [name for two in LOOKS for name in two]
    assert sum(used.count(name) > 1 for name in set(used)) >= 4


def test_noise_changes_nothing_else() -> None:
    plain, clean = city(20, seed=7), city(20, seed=7, noise=0.0)
    assert torch.equal(plain.classes, clean.classes)
    assert 0.1 < (plain.image - clean.image).std() < 0.15  # clipped at 0 and 1


def test_pieces_of_known_maps() -> None:
    maps = torch.zeros(3, 6, 6, dtype=torch.int64)
    maps[0, 1, 1] = maps[0, 2, 2] = 2  # they touch at a corner only
    maps[2, 0, 0] = 2
    maps[2, 5, 5] = 4
    assert pieces(maps, (2,)).tolist() == [2, 0, 1]
    assert pieces(maps, (0, 2, 4)).tolist() == [3, 1, 3]
    assert pieces(maps.numpy(), (3,)).tolist() == [0, 0, 0]


def test_pieces_without_a_right_pixel_are_astray() -> None:
    truth = torch.zeros(3, 6, 6, dtype=torch.int64)
    truth[:, 1:3, 1:3] = TREE
    found = torch.zeros_like(truth)
    found[0, 2:5, 2] = TREE  # one of its pixels is right
    found[1, 4, 4] = found[1, 1, 1] = found[1, 5, 0] = TREE
    found[2] = HOUSE
    assert astray(found, truth, (SKY, TREE)).tolist() == [0, 2, 0]
    assert astray(found, truth, (HOUSE,)).tolist() == [0, 0, 1]
    assert not astray(truth, truth, (SKY, TREE)).any()
    with pytest.raises(ValueError, match="two shapes"):
        astray(found, truth[:2], (SKY,))


def test_windows_outside_of_houses_are_found() -> None:
    maps = torch.full((3, 8, 8), HOUSE)
    maps[:, 2:4, 2:4] = WINDOW
    maps[1, 2, 4] = GROUND  # beside one window
    maps[1, 6, 6] = WINDOW  # in the wall
    maps[2] = SKY
    maps[2, 0, 0] = maps[2, 7, 7] = WINDOW  # in the sky
    broken, windows = outside(maps)
    assert broken.tolist() == [0, 1, 2] and windows.tolist() == [1, 2, 2]


def test_counts_agree_with_a_plain_walk(scenes: City) -> None:
    """Against a flood fill, pixel by pixel, on label maps with random errors."""
    draw = np.random.default_rng(0)
    maps = scenes.classes[:6, ::4, ::4].numpy().copy()
    wrong = draw.random(maps.shape) < 0.15
    maps[wrong] = draw.integers(0, 5, wrong.sum())
    found, broken, windows = [], [], []
    for one in maps:
        left, count, bad, panes = set(np.ndindex(one.shape)), 0, 0, 0
        while left:
            start = left.pop()
            kind, queue, around = one[start], [start], set()
            while queue:
                y, x = queue.pop()
                for place in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                    if min(place) < 0 or max(place) >= len(one):
                        continue
                    around.add(int(one[place]))
                    if place in left and one[place] == kind:
                        left.remove(place)
                        queue.append(place)
            count += 1
            panes += kind == WINDOW
            bad += kind == WINDOW and bool(around - {HOUSE, WINDOW})
        found, broken, windows = found + [count], broken + [bad], windows + [panes]
    assert pieces(maps, tuple(range(5))).tolist() == found
    assert [t.tolist() for t in outside(maps)] == [broken, windows]


@pytest.mark.parametrize("bad, words", [
    ({"houses": 1.5}, "houses"), ({"noise": -0.1}, "noise"), ({"size": 20}, "size"),
    ({"n": 0}, "n must"), ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        city(**{"n": 2} | bad)


@pytest.mark.parametrize("maps", [torch.zeros(4, 4).long(), torch.zeros(1, 4, 4)])
def test_counts_want_label_maps(maps: torch.Tensor) -> None:
    for count in (lambda: pieces(maps, (0,)), lambda: outside(maps)):
        with pytest.raises(ValueError, match="whole numbers"):
            count()
