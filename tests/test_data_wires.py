"""Wires: each pixel's class is the colour of its head, however far that is."""

import pytest
import torch

from utils import data
from utils.data.wires import DARK, NAMES, PAINTS, SIDES, Wires, wires

FIELDS = ("image", "classes", "distance", "side")


@pytest.fixture(scope="module")
def drawn() -> Wires:
    return wires(300, "train", 24, seed=3, noise=0.0)


def runs(wired: Wires):
    """Each wire's line of pixels: image number, distances, classes, side, colours."""
    for i in range(len(wired)):
        down = wired.side[i].max() >= 2
        turned = [t.transpose(-1, -2) if down else t for t in
                  (wired.distance[i], wired.classes[i], wired.side[i], wired.image[i])]
        for row in range(turned[0].shape[0]):
            on = turned[0][row] >= 0
            if on.any():
                yield i, *(t[..., row, :][..., on] for t in turned)


def test_types_shapes_and_ranges(drawn: Wires) -> None:
    assert len(drawn) == 300 and drawn.image.shape == (300, 3, 24, 24)
    assert drawn.image.dtype == torch.float32 and drawn.image.is_contiguous()
    assert 0 <= drawn.image.min() and drawn.image.max() <= 1
    for field in FIELDS[1:]:
        assert getattr(drawn, field).shape == (300, 24, 24)
        assert getattr(drawn, field).dtype == torch.int64
    assert drawn.class_names == NAMES and drawn.classes.unique().tolist() == [0, 1, 2, 3]
    assert drawn.side.unique().tolist() == [-1, 0, 1, 2, 3] and len(SIDES) == 4


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (wires(20, seed=s) for s in (1, 1, 2))
    for field in FIELDS:
        assert torch.equal(getattr(one, field), getattr(two, field))
        assert not torch.equal(getattr(one, field), getattr(other, field))
    assert not torch.equal(one.image, wires(20, "test", seed=1).image)
    assert torch.equal(data.load("wires", 20, seed=1).image, one.image)


def test_noise_changes_the_colours_only() -> None:
    clean, noisy = (wires(50, "test", seed=4, noise=noise) for noise in (0.0, 0.05))
    for field in FIELDS[1:]:
        assert torch.equal(getattr(clean, field), getattr(noisy, field))
    inside = (clean.image > 0.2) & (clean.image < 0.8)
    assert 0.045 < (noisy.image - clean.image)[inside].std() < 0.055


def test_fields_agree_off_the_wires(drawn: Wires) -> None:
    off = drawn.classes == 0
    assert torch.equal(off, drawn.distance == -1) and torch.equal(off, drawn.side == -1)
    assert torch.allclose(drawn.image.movedim(1, -1)[off], torch.tensor(DARK))


def test_distance_class_side_and_colour_along_each_wire(drawn: Wires) -> None:
    paints, grown = torch.from_numpy(PAINTS), set()
    for _, distance, classes, side, image in runs(drawn):
        assert len(classes.unique()) == len(side.unique()) == 1
        if side[0] % 2:  # the head lies at the far end
            distance, image = distance.flip(0), image.flip(-1)
        assert distance.tolist() == [0, *range(len(distance) - 1)]
        assert torch.allclose(image[:, :2], paints[classes[0] - 1][:, None], atol=1e-6)
        grey = image[:, 2:]
        assert grey.std(0).max() < 1e-6 and grey.std(1).max() < 1e-6  # no clue of the head
        assert 0.45 <= grey.min() and grey.max() <= 0.65
        grown.add(len(distance))
    assert min(grown) >= 0.6 * 24 and max(grown) <= 24 and len(grown) > 4


def test_wires_are_two_pixels_thick_and_do_not_touch(drawn: Wires) -> None:
    for i in range(50):
        on = drawn.classes[i] > 0
        across = on.any(1 if drawn.side[i].max() < 2 else 0).long().tolist()
        lengths = [len(run) for run in "".join(map(str, across)).split("0") if run]
        assert set(lengths) == {2} and 3 <= len(lengths) <= 5


def test_all_colours_sides_and_directions_are_equally_frequent(drawn: Wires) -> None:
    many = wires(2000, "train", 24, seed=5)
    head = many.distance == 0
    for values, kinds in ((many.classes[head] - 1, 3), (many.side[head], 4)):
        share = torch.bincount(values, minlength=kinds) / len(values)
        assert (share - 1 / kinds).abs().max() < 0.03


@pytest.mark.parametrize("size", [16, 24, 33, 64])
def test_any_size(size: int) -> None:
    made = wires(10, size=size, count=(1, 2))
    assert made.image.shape == (10, 3, size, size) and made.distance.max() < size


@pytest.mark.parametrize("bad, words", [
    ({"count": (3, 1)}, "count"), ({"count": (0, 2)}, "count"), ({"count": (2, 99)}, "count"),
    ({"count": (1,)}, "count"), ({"length": (0.9, 0.5)}, "length"),
    ({"length": (0.1, 0.5)}, "length"), ({"length": (0.5, 1.2)}, "length"),
    ({"noise": -0.1}, "noise"), ({"size": 12}, "size"), ({"n": 0}, "n must"),
    ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wires(**{"n": 2} | bad)
