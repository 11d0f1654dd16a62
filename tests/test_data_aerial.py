"""Tiles from above: colour, height and labels agree; options change what they say."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from utils import data
from utils.data.aerial import ELEVATION, NAMES, Aerial, _elevation, _shadow, aerial


@pytest.fixture(scope="module")
def tiles() -> Aerial:
    return aerial(120, "train", seed=3)


def test_types_shapes_and_ranges(tiles: Aerial) -> None:
    assert len(tiles) == 120 and tiles.image.shape == (120, 3, 64, 64)
    assert tiles.image.dtype == tiles.height.dtype == torch.float32
    assert tiles.image.is_contiguous() and 0 <= tiles.image.min() <= tiles.image.max() <= 1
    assert tiles.height.shape == (120, 2, 64, 64) and tiles.height.isfinite().all()
    assert tiles.classes.shape == (120, 64, 64) and tiles.classes.dtype == torch.int64
    assert tiles.class_names == NAMES and tiles.classes.unique().tolist() == [0, 1, 2, 3, 4]


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (aerial(6, seed=s) for s in (1, 1, 2))
    for field in ("image", "height", "classes"):
        assert torch.equal(getattr(one, field), getattr(two, field))
        assert not torch.equal(getattr(one, field), getattr(other, field))
    assert not torch.equal(one.image, aerial(6, "test", seed=1).image)
    loaded = data.load("aerial", 6, seed=1)
    assert torch.equal(loaded.image, one.image)


def test_every_class_has_its_height() -> None:
    clean = aerial(120, "test", seed=4, height_noise=0.0)
    above, surface = clean.height[:, 1].numpy(), clean.height[:, 0].numpy()
    assert above.min() >= 0 and (surface - above).min() >= 0
    assert (surface - above).max() <= 4.0 + 1e-4  # the relief
    inner = {k: np.concatenate([a[binary_erosion(c == k)] for a, c in
                                zip(above, clean.classes.numpy())]) for k in range(5)}
    low, high = (np.concatenate([inner[k] for k in pair]) for pair in ((0, 2), (1, 3)))
    assert np.median(low) < 0.05 and np.quantile(high, 0.02) > 2
    assert 0.8 < np.median(inner[4]) <= 1.45  # cars are 1.4 m high


def test_relief_shadows_and_noise_change_nothing_else() -> None:
    plain = aerial(20, seed=5)
    flat = aerial(20, seed=5, relief=0.0)
    assert torch.equal(flat.image, plain.image) and torch.equal(flat.classes, plain.classes)
    assert torch.equal(flat.height[:, 1], plain.height[:, 1])
    assert torch.equal(flat.height[:, 0], flat.height[:, 1])
    noon = aerial(20, seed=5, shadows=False)
    assert torch.equal(noon.height, plain.height) and torch.equal(noon.classes, plain.classes)
    assert (noon.image >= plain.image).all() and not torch.equal(noon.image, plain.image)
    clean = aerial(20, seed=5, noise=0.0, height_noise=0.0)
    assert torch.equal(clean.classes, plain.classes)
    assert 0.02 < (clean.image - plain.image).std() < 0.032
    assert 0.29 < (clean.height - plain.height)[:, 1].std() < 0.31


def test_a_wall_casts_its_shadow_away_from_the_sun() -> None:
    above = np.zeros((32, 32), np.float32)
    above[:, 10:12] = 4.0  # metres: at 63 degrees and 0.5 m a pixel it shades 4 pixels
    east = _shadow(above, 0.0, 0.5)  # the sun stands towards greater columns
    assert np.flatnonzero(east.all(0)).tolist() == [7, 8, 9]
    assert not east[:, 10:].any() and not east[:, :6].any()
    west = _shadow(above, np.pi, 0.5)
    assert np.flatnonzero(west.all(0)).tolist() == [12, 13, 14]
    assert not _shadow(np.zeros((32, 32), np.float32), 1.0, 0.5).any()


def test_some_walls_hardly_show_in_the_colours_and_all_show_in_the_height() -> None:
    """The reason for the second stream: a gravel roof on gravel ground."""
    made = aerial(200, seed=6, trees=(0, 0), cars=(0, 0), buildings=(1, 1), shadows=False,
                  height_noise=0.0)
    ratios = []
    for image, height, classes in zip(made.image, made.height[:, 1], made.classes):
        edge, same = ((classes[:, 1:] != classes[:, :-1]) & (classes[:, 1:] == 1),
                      classes[:, 1:] == classes[:, :-1])
        if edge.sum() > 10:
            steps = [(m[..., 1:] - m[..., :-1]).abs() for m in (image, height)]
            ratios.append([float(s[..., edge].mean() / s[..., same].mean()) for s in steps])
    colour, metres = np.array(ratios).T  # step at the walls over the step elsewhere
    assert colour.min() < 1.5 and np.quantile(metres, 0.1) > 20


def test_counts_are_options() -> None:
    bare = aerial(30, buildings=(0, 0), trees=(0, 0), cars=(0, 0), height_noise=0.0)
    assert set(bare.classes.unique().tolist()) == {0, 2}
    assert bare.height[:, 1].abs().max() == 0
    for k, kind in ((1, "buildings"), (3, "trees"), (4, "cars")):
        few, many = (aerial(30, **{kind: (c, c)}).classes for c in (1, 6))
        assert (few == k).sum() < (many == k).sum()


def test_tiles_grow_with_their_size() -> None:
    """A tile is 32 m wide at any size, so the shares of the classes stay."""
    shares = [torch.bincount(aerial(80, size=size, seed=8).classes.flatten(), minlength=5)
              / (80 * size * size) for size in (48, 96)]
    assert (shares[0] - shares[1]).abs().max() < 0.06


def test_the_ground_of_train_and_test_lies_apart() -> None:
    train, test = (_elevation(split) for split in ("train", "test"))
    assert ELEVATION["train"][1] < ELEVATION["test"][0]
    assert train.shape == (344, 190) and test.shape == (344, 190)
    with pytest.raises(ValueError, match="read-only"):
        train[0, 0] = 0


@pytest.mark.parametrize("bad, words", [
    ({"buildings": (3, 1)}, "buildings"), ({"trees": (-1, 2)}, "trees"),
    ({"cars": (1,)}, "cars"), ({"relief": -1.0}, "relief"), ({"noise": -0.1}, "noise"),
    ({"height_noise": -1.0}, "height_noise"), ({"size": 20}, "size"), ({"n": 0}, "n must"),
    ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        aerial(**{"n": 2} | bad)
