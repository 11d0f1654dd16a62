"""Words: the boxes hold the words, the rest of a picture holds none."""

import numpy as np
import pytest
import torch
from PIL import Image

from utils import data
from utils.data.words import (CLUTTER, FONTS, GAP, LETTERS, SYMBOLS, Words, _font, _ink,
                              _place, _stamp, _written, words)


@pytest.fixture(scope="module")
def signs() -> Words:
    return words(200, seed=3, count=(1, 3))


def test_types_shapes_and_ranges(signs: Words) -> None:
    assert len(signs) == 200 and signs.image.shape == (200, 3, 96, 96)
    assert signs.image.dtype == torch.float32 and signs.image.is_contiguous()
    assert 0 <= signs.image.min() <= signs.image.max() <= 1
    assert signs.text.shape == (200, 96, 96) and signs.text.dtype == torch.bool
    for boxes, spelled in zip(signs.boxes, signs.spelled, strict=True):
        assert boxes.shape == (len(spelled), 4) and boxes.dtype == torch.float32
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert boxes.numel() == 0 or (boxes.min() >= GAP and boxes.max() <= 96 - GAP)


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    one, two, other = (words(8, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.image, two.image) and torch.equal(one.text, two.text)
    assert one.spelled == two.spelled and all(map(torch.equal, one.boxes, two.boxes))
    assert not torch.equal(one.image, other.image)
    assert not torch.equal(one.image, words(8, "test", seed=1).image)
    assert torch.equal(data.load("words", 8, seed=1).image, one.image)


def test_the_mask_is_the_boxes(signs: Words) -> None:
    for text, boxes in zip(signs.text, signs.boxes):
        filled = torch.zeros_like(text)
        for x1, y1, x2, y2 in boxes.long().tolist():
            assert not filled[y1:y2, x1:x2].any()  # words do not overlap
            filled[y1:y2, x1:x2] = True
        assert torch.equal(filled, text)


def test_words_are_words(signs: Words) -> None:
    spelled = [word for line in signs.spelled for word in line]
    assert len(spelled) > 250 and len(set(spelled)) > 0.9 * len(spelled)
    for word in spelled:
        assert 3 <= len(word) <= 7
        assert word.isdecimal() and len(word) <= 5 or set(word.lower()) <= set(LETTERS)
    numbers = np.mean([word.isdecimal() for word in spelled])
    assert 0.03 < numbers < 0.2 < np.mean([word.isupper() for word in spelled]) < 0.55


def test_pictures_without_words_have_clutter() -> None:
    bare = words(60, seed=4, count=(0, 0), clutter=(0, 0), noise=0)
    full = words(60, seed=4, count=(0, 0), clutter=(3, 5), noise=0)
    for signs in (bare, full):
        assert not signs.text.any() and not any(map(len, signs.boxes))
    assert full.image[0].shape == bare.image[0].shape
    assert not torch.equal(full.image, bare.image)


def test_noise_changes_nothing_else() -> None:
    plain, clean = words(20, seed=7), words(20, seed=7, noise=0.0)
    assert torch.equal(plain.text, clean.text) and plain.spelled == clean.spelled
    assert 0.01 < (plain.image - clean.image).std() < 0.016  # clipped at 0 and 1


def test_a_word_can_be_read_against_its_ground() -> None:
    """The ink goes the asked share of the way to black or white, beside the hue's noise."""
    rng = np.random.default_rng(0)
    for level in (0.1, 0.5, 0.9):
        below = np.full((4, 6, 3), level, np.float32)
        for _ in range(50):
            ink = _ink(rng, below, (0.5, 0.5)).mean()
            assert min(abs(ink - level / 2), abs(ink - (level + 1) / 2)) <= 0.12


def test_heights_are_those_asked_for() -> None:
    low, high = (np.concatenate([b[:, 3] - b[:, 1] for b in words(
        60, seed=2, count=(1, 2), clutter=(0, 0), height=(h, h)).boxes]) for h in (8, 20))
    assert 6 <= np.median(low) <= 11 and 17 <= np.median(high) <= 26


@pytest.mark.parametrize("name", FONTS)
def test_every_font_writes_every_letter(name: str) -> None:
    font = _font(name, 24)
    letters = sorted(set(LETTERS) | set(LETTERS.upper()) | set("0123456789"))
    drawn = {letter: _written(letter, font).tobytes() for letter in letters}
    missing = _written("\uffff", font).tobytes()
    assert missing not in drawn.values() and len(set(drawn.values())) == len(letters)


def test_symbols_are_known_to_their_font() -> None:
    font = _font("DejaVuSans", 24)
    missing = _written("\uffff", font).tobytes()
    assert all(_written(s, font).tobytes() != missing for s in SYMBOLS)
    assert not any(s.isalnum() for s in SYMBOLS)


@pytest.mark.parametrize("kind", CLUTTER)
def test_clutter_is_as_high_as_words(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        alpha, spelled = _stamp(rng, kind, 12.0)
        assert spelled == "" and alpha.dtype == np.float32
        assert 4 <= alpha.shape[0] <= 22 and 0.4 < alpha.max() <= 1
        for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert edge.max() > 0  # cut tightly


def test_nothing_is_placed_where_there_is_no_room() -> None:
    rng = np.random.default_rng(2)
    assert _place(rng, (10, 93), 96, []) is None
    assert _place(rng, (10, 10), 96, [(0, 0, 96, 96)]) is None
    box = _place(rng, (10, 20), 96, [])
    assert box is not None and (box[3] - box[1], box[2] - box[0]) == (10, 20)


def test_written_text_is_an_opacity() -> None:
    mask = _written("Sign", _font("DejaVuSans", 16))
    assert isinstance(mask, Image.Image) and mask.mode == "L" and mask.getbbox() is not None


@pytest.mark.parametrize("bad, message", [
    ({"count": (3, 1)}, "count"), ({"clutter": (-1, 2)}, "clutter"),
    ({"height": (2, 10)}, "height"), ({"contrast": (0, 1)}, "contrast"),
    ({"noise": -0.1}, "noise"), ({"size": 20}, "size"), ({"n": 0}, "n must"),
    ({"split": "val"}, "split"), ({"seed": -1}, "seed")])
def test_bad_input_is_refused(bad: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        words(**{"n": 2} | bad)
