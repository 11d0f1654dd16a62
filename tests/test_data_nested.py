"""Dots whose class is the shape round them, and in no pixel of their own."""

import dataclasses

import pytest
import torch

from utils.data.nested import AROUND, CLEAR, NAMES, Nested, nested


@pytest.fixture(scope="module")
def pictures() -> Nested:
    return nested(240, "train", seed=3)


def dots(pictures: Nested) -> list[torch.Tensor]:
    return [b[(c == 1) | (c == 2)] for b, c in zip(pictures.boxes, pictures.box_classes)]


def test_types_shapes_and_ranges(pictures: Nested) -> None:
    assert len(pictures) == 240 and pictures.image.shape == (240, 3, 64, 64)
    assert pictures.image.dtype == torch.float32 and pictures.image.is_contiguous()
    assert 0 <= pictures.image.min() and pictures.image.max() <= 1
    assert pictures.contour.shape == (240, 64, 64) and pictures.contour.dtype == torch.bool
    assert pictures.class_names == NAMES and NAMES[0] == "background"
    for boxes, classes in zip(pictures.boxes, pictures.box_classes):
        assert boxes.dtype == torch.float32 and classes.dtype == torch.int64
        assert boxes.shape == (len(classes), 4) and len(classes) >= 2
        assert boxes.min() >= 0 and boxes.max() <= 64
        assert (boxes[:, 2:] - boxes[:, :2] >= 5).all()


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (nested(6, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.image, two.image) and torch.equal(one.contour, two.contour)
    for a, b in zip(one.boxes + one.box_classes, two.boxes + two.box_classes):
        assert torch.equal(a, b)
    assert not torch.equal(one.image, other.image)
    assert not torch.equal(one.image, nested(6, "test", seed=1).image)


def test_one_large_shape_decides_the_class_of_all_dots(pictures: Nested) -> None:
    for boxes, classes in zip(pictures.boxes, pictures.box_classes):
        large, small = classes[classes > 3], classes[(classes == 1) | (classes == 2)]
        assert len(large) == 1 and 1 <= len(small) <= 2
        assert (small == large - 3).all()  # button 1 in square 4, eye 2 in disc 5
    counts = torch.bincount(torch.cat(pictures.box_classes), minlength=6)
    assert 0.35 < counts[4] / 240 < 0.65 and counts[3] >= 240


def test_sizes(pictures: Nested) -> None:
    boxes, classes = torch.cat(pictures.boxes), torch.cat(pictures.box_classes)
    side = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    assert side[classes < 4].max() < 10 and side[classes > 3].min() > 36
    both = [side[classes == k].mean() for k in (1, 2)]
    assert abs(both[0] - both[1]) < 0.3


def test_the_other_shape_changes_only_the_contour_and_the_classes() -> None:
    square, disc = (nested(40, "test", seed=5, around=shape) for shape in AROUND)
    elsewhere = ~(square.contour | disc.contour)[:, None].expand(40, 3, 64, 64)
    assert torch.equal(square.image[elsewhere], disc.image[elsewhere])
    assert not torch.equal(square.image, disc.image)
    for one, two in zip(dots(square), dots(disc)):
        assert torch.equal(one, two)
    for one, two in zip(square.box_classes, disc.box_classes):
        swap = torch.tensor([0, 2, 1, 3, 5, 4])
        assert torch.equal(swap[one], two)
    free, drawn = nested(40, "test", seed=5), (square, disc)
    for i, classes in enumerate(free.box_classes):
        same = drawn[int(classes[0]) - 4]
        assert torch.equal(free.image[i], same.image[i])


@pytest.mark.parametrize("around", AROUND)
def test_the_contour_keeps_clear_of_the_dots(around: str) -> None:
    pictures = nested(150, seed=7, around=around)
    for contour, boxes in zip(pictures.contour, dots(pictures)):
        for x, y in ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist():
            # a box is known to half a pixel, a pixel's middle to another half
            low, high = [[int(v + s * (CLEAR - 1)) for v in (x, y)] for s in (-1, 1)]
            assert low[0] >= 0 and low[1] >= 0 and max(high) < 64
            assert not contour[low[1]:high[1] + 1, low[0]:high[0] + 1].any()


def test_small_things_do_not_overlap(pictures: Nested) -> None:
    for boxes, classes in zip(pictures.boxes, pictures.box_classes):
        small = boxes[classes < 4]
        apart = torch.maximum(small[:, None, :2] - small[None, :, 2:],
                              small[None, :, :2] - small[:, None, 2:]).amax(-1)
        assert (apart + 99 * torch.eye(len(small)) >= 0).all()


def test_noise_and_size_are_options() -> None:
    clean, noisy = (nested(4, seed=1, noise=v) for v in (0.0, 0.1))
    assert 0.05 < (clean.image - noisy.image).std() < 0.11
    big = nested(3, size=128, seed=1)
    assert big.image.shape[-1] == 128 and max(b.max() for b in big.boxes) > 64


@pytest.mark.parametrize("bad, words", [
    ({"around": "star"}, "square"), ({"noise": -1.0}, "noise"), ({"size": 20}, "size"),
    ({"n": 0}, "n must"), ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        nested(**{"n": 2} | bad)


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        nested(1).image = None
