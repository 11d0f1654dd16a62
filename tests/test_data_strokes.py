"""Strokes: two that do not touch, a dot at an end of one, the true distance to it."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label, maximum_filter

from utils import data
from utils.data.strokes import DARK, DOT, GREY, Strokes, strokes

FIELDS = ("image", "same", "distance", "seed")
AROUND = np.ones((3, 3), int)


@pytest.fixture(scope="module")
def drawn() -> Strokes:
    return strokes(300, "train", 20, seed=3)


def test_types_shapes_and_ranges(drawn: Strokes) -> None:
    assert len(drawn) == 300 and drawn.image.shape == (300, 3, 20, 20)
    assert drawn.image.dtype == torch.float32 and drawn.image.is_contiguous()
    assert 0 <= drawn.image.min() and drawn.image.max() <= 1
    assert drawn.same.shape == drawn.distance.shape == (300, 20, 20)
    assert drawn.seed.shape == (300, 2)
    assert all(getattr(drawn, name).dtype == torch.int64 for name in FIELDS[1:])
    assert drawn.same.unique().tolist() == [-1, 0, 1]


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (strokes(20, seed=s) for s in (1, 1, 2))
    for field in FIELDS:
        assert torch.equal(getattr(one, field), getattr(two, field))
        assert not torch.equal(getattr(one, field), getattr(other, field))
    assert not torch.equal(one.image, strokes(20, "test", seed=1).image)
    assert torch.equal(data.load("strokes", 20, seed=1).image, one.image)


def test_more_pictures_begin_with_the_same_ones() -> None:
    few, many = strokes(5, seed=4), strokes(200, seed=4)
    for field in FIELDS:
        assert torch.equal(getattr(few, field), getattr(many, field)[:5])


def test_each_stroke_is_one_piece_long_enough_and_clear_of_the_frame(drawn: Strokes) -> None:
    for same in drawn.same.numpy():
        for kind in (0, 1):
            mask = same == kind
            assert label(mask)[1] == 1  # joined by edges, not by corners only
            assert mask.sum() >= 20
            assert not mask[[0, -1]].any() and not mask[:, [0, -1]].any()


@pytest.mark.parametrize("gap", [1, 2, 4])
def test_the_gap_is_kept_in_every_direction(gap: int) -> None:
    for same in strokes(60, size=24, seed=5, gap=gap).same.numpy():
        near = maximum_filter(same == 1, size=2 * gap + 1)
        assert not (near & (same == 0)).any()


def test_the_dot_is_an_end_of_its_stroke_and_the_only_colour(drawn: Strokes) -> None:
    ends = 0
    for image, same, (y, x) in zip(drawn.image, drawn.same.numpy(), drawn.seed.tolist()):
        assert same[y, x] == 1 and np.allclose(image[:, y, x], DOT)
        grey = (image[0] - image[2]).abs() < 1e-6
        assert (~grey).sum() == 1
        assert torch.allclose(image[0][grey & torch.from_numpy(same >= 0)],
                              torch.tensor(GREY))
        assert torch.allclose(image[0][torch.from_numpy(same < 0)], torch.tensor(DARK))
        rest = same == 1
        rest[y, x] = False
        ends += label(rest, AROUND)[1] == 1  # without an end a stroke stays in one piece
    assert ends > 0.98 * len(drawn)  # a stroke may cross itself there


def test_distance_is_that_of_a_king_on_a_chessboard(drawn: Strokes) -> None:
    for distance, (y, x) in zip(drawn.distance[:20], drawn.seed[:20].tolist()):
        for row, column in ((0, 0), (y, x), (19, 7), (3, 19)):
            assert distance[row, column] == max(abs(row - y), abs(column - x))


def test_no_clue_but_the_dot() -> None:
    """The dot is as often on the stroke that was drawn first: both are equally long."""
    made = strokes(2000, size=20, seed=6)
    own, other = ((made.same == kind).sum((1, 2)).float() for kind in (1, 0))
    assert abs((own - other).mean()) < 4 * (own - other).std() / 2000**0.5


def test_noise_changes_the_colours_only() -> None:
    clean, noisy = (strokes(50, "test", seed=4, noise=noise) for noise in (0.0, 0.05))
    for field in FIELDS[1:]:
        assert torch.equal(getattr(clean, field), getattr(noisy, field))
    assert 0.045 < (noisy.image - clean.image).std() < 0.055


def test_less_bend_gives_straighter_strokes() -> None:
    """Straight ones reach further from their dot."""
    reach = [(made.distance * (made.same == 1)).amax((1, 2)).float().mean()
             for made in (strokes(200, size=32, seed=7, bend=b) for b in (0.05, 0.5))]
    assert reach[0] > reach[1] + 2


@pytest.mark.parametrize("size", [16, 24, 33, 64])
def test_any_size(size: int) -> None:
    made = strokes(10, size=size)
    assert made.image.shape == (10, 3, size, size) and made.distance.max() < size


@pytest.mark.parametrize("bad, words", [
    ({"gap": 0}, "gap"), ({"gap": 7}, "gap"), ({"gap": 1.5}, "gap"), ({"bend": -0.1}, "bend"),
    ({"bend": 2.0}, "bend"), ({"noise": -0.1}, "noise"), ({"size": 12}, "size"),
    ({"n": 0}, "n must"), ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        strokes(**{"n": 2} | bad)
