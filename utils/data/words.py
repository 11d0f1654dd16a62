"""Words: signs in real fonts on photographs, among marks that look like writing.

A word is random letters, with the frequencies of English, or a number, in one of the
fonts that matplotlib ships. Clutter has the sizes, the colours and the strokes of words but
says nothing: rows of symbols, bars, rings, strokes, fences. `count=(0, 0)` gives pictures
without any word, on which a text detector should find nothing.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import photos

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono",
         "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral",
         "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmss10")
CLUTTER = ("symbols", "bars", "rings", "strokes", "fence")
LETTERS = "eeeeeeetttttaaaaaoooooiiiinnnnnssshhhrrrddlllucmwfgypbvk"  # about English's
SYMBOLS = "▲▼◆■●○◇△▽□◁▷◢◣★☆♠♣♥♦←↑→↓↔↕⌂☼♪♫⊕⊗⊞⊠∎∆∇≡∥¤◊◐◑◒◓"
CAPITAL = 0.72  # height of a capital letter, in units of the font's size
GAP = 2  # pixels that stay free about each word and each piece of clutter
FINE = 4  # clutter is drawn this much larger and reduced


@dataclass(frozen=True)
class Words(photos.Pictures):
    """N pictures of S x S pixels with k words each, as CPU tensors."""
    image: Tensor  # (N, 3, S, S) float32 in 0..1
    text: Tensor  # (N, S, S) bool: the filled boxes of the words
    boxes: list[Tensor]  # per picture (k, 4) float32, x1 y1 x2 y2, the last two exclusive
    spelled: list[tuple[str, ...]]  # per picture the k words


@lru_cache(maxsize=None)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{name}.ttf", size)


def _word(rng: Generator) -> str:
    """Three to seven letters, or up to five digits."""
    letters = rng.integers(len(LETTERS), size=rng.integers(3, 8))
    word, style = "".join(LETTERS[k] for k in letters), rng.random()
    if style < 0.1:
        return "".join(str(k % 10) for k in letters[:5])
    return word.upper() if style < 0.5 else word.capitalize() if style < 0.8 else word


def _written(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The text as an opacity, mode L."""
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (max(1, round(right - left)) + 4, max(1, round(bottom - top)) + 4))
    ImageDraw.Draw(mask).text((2 - left, 2 - top), text, 255, font)
    return mask


def _marks(rng: Generator, kind: str, height: float) -> Image.Image:
    """Bars, rings, strokes or a fence of that height, as an opacity, mode L."""
    wide, high = round(height * rng.uniform(1.5, 4.5)), round(height)
    mask = Image.new("L", (FINE * wide, FINE * high))
    draw, (w, h) = ImageDraw.Draw(mask), mask.size
    line = int(rng.integers(FINE, 2 * FINE + 1))
    if kind == "bars":
        x = 0
        while x < w:
            thick = int(rng.integers(3, 14))
            draw.rectangle((x, 0, x + thick, h), 255)
            x += thick + int(rng.integers(5, 18))
    elif kind == "rings":
        x = 0
        while x < w - h // 2:
            across = int(h * rng.uniform(0.5, 1))
            top = (h - across) // 2
            draw.ellipse((x, top, x + across - 1, top + across - 1), outline=255, width=line)
            x += across + 6
    elif kind == "strokes":
        for x in range(0, w, max(8, h // 2)):
            for _ in range(2):
                ends = rng.uniform(0, 1, (3, 2)) * (h / 2, h) + (x, 0)
                draw.line([tuple(end) for end in ends.tolist()], 255, line)
    else:
        for x in range(0, w, int(rng.integers(12, 28))):
            draw.line((x, 0, x, h), 255, line)
        for y in (h // 4, 3 * h // 4):
            draw.line((0, y, w, y), 255, line)
    return mask.resize((wide, high), Image.Resampling.BOX)


def _stamp(rng: Generator, kind: str, height: float) -> tuple[np.ndarray, str]:
    """An opacity (h, w) in 0..1, cut tightly, and what it says ("" for clutter)."""
    size, spelled = max(7, round(height / CAPITAL)), ""
    if kind == "word":
        spelled = _word(rng)
        mask = _written(spelled, _font(FONTS[rng.integers(len(FONTS))], size))
    elif kind == "symbols":
        row = rng.integers(len(SYMBOLS), size=rng.integers(2, 6))
        mask = _written("".join(SYMBOLS[k] for k in row), _font("DejaVuSans", size))
    else:
        mask = _marks(rng, kind, height)
    return np.asarray(mask.crop(mask.getbbox()), np.float32) / 255, spelled


def _place(rng: Generator, shape: tuple[int, int], size: int,
           taken: list[tuple[int, ...]]) -> tuple[int, int, int, int] | None:
    """A free box x1 y1 x2 y2 for a stamp of (height, width); None if none was found."""
    if max(shape) > size - 2 * GAP:
        return None
    for _ in range(12):
        y, x = (int(rng.integers(GAP, size - side - GAP + 1)) for side in shape)
        box = x, y, x + shape[1], y + shape[0]
        if all(box[0] >= t[2] + GAP or box[2] <= t[0] - GAP or box[1] >= t[3] + GAP
               or box[3] <= t[1] - GAP for t in taken):
            return box
    return None


def _ink(rng: Generator, below: np.ndarray, contrast: tuple[float, float]) -> np.ndarray:
    """A colour (3,) lighter than the pixels (h, w, 3) below if these are dark, or darker."""
    mean = below.mean((0, 1))
    light = float(mean.mean())
    sign = 1 if rng.random() < 1 - light else -1
    room = 1 - light if sign > 0 else light
    return mean + sign * rng.uniform(*contrast) * room + rng.uniform(-0.12, 0.12, 3)


def _range(what: str, pair: tuple[float, float], low: float, high: float) -> None:
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(f"{what} must be (least, most) with {low} <= least <= most <= "
                         f"{high}, got {pair!r}")


def words(n: int, split: str = "train", size: int = 96, seed: int = 0, *,
          count: tuple[int, int] = (0, 3), clutter: tuple[int, int] = (1, 4),
          height: tuple[float, float] = (7, 18), contrast: tuple[float, float] = (0.3, 0.9),
          noise: float = 0.015) -> Words:
    """Generate `n` pictures of `size` x `size` pixels; equal arguments, equal bits.

    count, clutter: least and most words and pieces of clutter that are tried in a picture;
        what finds no free place is left out.
    height: least and most height in pixels, of a capital letter or of a piece of clutter;
        small ones are as frequent as large ones on a logarithmic scale.
    contrast: how far the ink goes from the ground's mean towards black or white, 0..1.
    noise: standard deviation of the Gaussian noise added at the end.
    """
    rng = photos.generator(n, split, size, seed, 48)
    _range("count", count, 0, 20)
    _range("clutter", clutter, 0, 20)
    _range("height", height, 5, size / 2)
    _range("contrast", contrast, 0.05, 1)
    if noise < 0:
        raise ValueError(f"noise must be >= 0, got {noise!r}")
    image = noise * rng.standard_normal((n, size, size, 3), np.float32)
    text, boxes, spelled = np.zeros((n, size, size), bool), [], []
    for i in range(n):
        ground = rng.random() < 0.25 and photos.MATERIALS[rng.integers(5)]  # never print
        canvas = (photos.texture(rng, split, ground, size) if ground else
                  photos.crop(rng, split, size, jitter=0.25))
        kinds = ["word"] * int(rng.integers(count[0], count[1] + 1))
        marks = rng.integers(len(CLUTTER), size=rng.integers(clutter[0], clutter[1] + 1))
        kinds += [CLUTTER[k] for k in marks]
        taken, found, said = [], [], []
        for kind in kinds:
            tall = float(np.exp(rng.uniform(*np.log(height))))
            alpha, word = _stamp(rng, kind, tall)
            box = _place(rng, alpha.shape, size, taken)
            if box is None:
                continue
            taken.append(box)
            part = np.s_[box[1]:box[3], box[0]:box[2]]
            ink = _ink(rng, canvas[part], contrast).astype(np.float32)
            canvas[part] += alpha[..., None] * (ink - canvas[part])
            if word:
                text[i][part] = True
                found.append(box)
                said.append(word)
        image[i] += canvas
        boxes.append(torch.tensor(found, dtype=torch.float32).reshape(-1, 4))
        spelled.append(tuple(said))
    maps = np.ascontiguousarray(image.clip(0, 1).transpose(0, 3, 1, 2)), text
    return Words(*map(torch.from_numpy, maps), boxes, spelled)
