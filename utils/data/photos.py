"""Real photographs that come inside the dependencies, split into train and test.

scikit-image, scikit-learn and matplotlib ship these files. A *photo* is a scene used
as background and belongs to one split. A *texture* is a region of even material: none
has two photographs, so train and test use two rectangles of one that do not touch.
`photographs` gives the same files whole, to look at.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from numpy.random import Generator, default_rng
from PIL import Image

SPLITS = ("train", "test")
PHOTOS = {
    "train": ("astronaut", "coffee", "motorcycle", "china", "coins", "retina"),
    "test": ("hopper", "rocket", "flower", "camera", "moon"),
}
# material: (file, train rectangle, test rectangle, sizes of the detail), rectangles as
# (top, bottom, left, right) in pixels. The last pair is the range of the length of the
# short side, in units of the scene: it makes a brick or a hair a few pixels wide.
TEXTURES = {
    "brick": ("brick", (0, 512, 0, 250), (0, 512, 262, 512), (0.8, 1.3)),
    "grass": ("grass", (0, 512, 0, 250), (0, 512, 262, 512), (1.4, 2.2)),
    "gravel": ("gravel", (0, 512, 0, 250), (0, 512, 262, 512), (1.2, 2.0)),
    "fur": ("chelsea", (0, 85, 60, 320), (135, 235, 40, 215), (1.0, 1.5)),
    "tissue": ("ihc", (0, 200, 0, 250), (40, 260, 300, 450), (1.5, 2.2)),
    "print": ("page", (42, 140, 0, 188), (42, 140, 196, 384), (0.8, 1.2)),
}
MATERIALS = tuple(TEXTURES)
SHOWN = PHOTOS["train"] + PHOTOS["test"] + ("chelsea", "ihc", "page")  # to look at
# Where the square that is shown lies along the long side, from 0 (left, top) to 1: so
# that it holds the cup, the wheels, the cap, the pagoda, the dahlia, five columns of
# coins and the beginnings of lines. Of the other pictures it is the middle.
_SQUARES = {"coffee": 0.3, "motorcycle": 0.6, "hopper": 0, "china": 0.05, "flower": 0.4,
            "coins": 0, "page": 0}
_ladder = lru_cache(maxsize=None)(np.geomspace)  # the same few ranges come again


class Pictures:
    """A generated set: as long as it has pictures."""

    def __len__(self) -> int:
        return len(self.image)


def one_of(what: str, value: str, known: tuple[str, ...]) -> int:
    """The position of `value` in `known`; ValueError that lists them without it."""
    if value not in known:
        raise ValueError(f"{what} must be one of {known}, got {value!r}")
    return known.index(value)


def whole(what: str, value: int, low: int) -> None:
    """ValueError unless `value` is an integer of at least `low`."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or value < low:
        raise ValueError(f"{what} must be an integer >= {low}, got {value!r}")


def generator(n: int, split: str, size: int, seed: int, least: int) -> Generator:
    """The random stream of a set and split; ValueError for numbers out of range."""
    for what, value, low in (("n", n, 1), ("size", size, least), ("seed", seed, 0)):
        whole(what, value, low)
    return default_rng([seed, one_of("split", split, SPLITS)])


def names(split: str, kind: str = "all") -> tuple[str, ...]:
    """A split's pictures: kind "photo", "texture" ("brick/train", ...) or "all"."""
    one_of("split", split, SPLITS)
    textures = tuple(f"{material}/{split}" for material in MATERIALS)
    kinds = PHOTOS[split], textures, PHOTOS[split] + textures
    return kinds[one_of("kind", kind, ("photo", "texture", "all"))]


def _read(name: str) -> np.ndarray:
    """The file as its package gives it, uint8 (H, W) or (H, W, 3)."""
    from matplotlib.cbook import get_sample_data
    from skimage import data, io
    from sklearn.datasets import load_sample_image

    if name in ("china", "flower"):
        return load_sample_image(f"{name}.jpg")
    if name == "hopper":
        return io.imread(get_sample_data("grace_hopper.jpg", asfileobj=False))
    if name == "motorcycle":
        return data.stereo_motorcycle()[0]
    if name == "retina":  # the eye is round: keep the square inside it
        return data.retina()[260:1160, 260:1160]
    return getattr(data, "immunohistochemistry" if name == "ihc" else name)()


@lru_cache(maxsize=None)
def photo(name: str) -> np.ndarray:
    """A picture by name: float32 (H, W, 3) in 0..1, read-only; grey ones repeated."""
    if name not in (known := names("train") + names("test")):
        raise ValueError(f"unknown picture {name!r}; known: {', '.join(known)}")
    material, _, split = name.partition("/")
    if split:
        file, *rectangles, _ = TEXTURES[material]
        top, bottom, left, right = rectangles[SPLITS.index(split)]
        pixels = _read(file).astype(np.float32)[top:bottom, left:right]
        low, high = np.percentile(pixels, (1, 99))  # some files are dim
        pixels = np.clip(0.1 + 0.85 * (pixels - low) / (high - low), 0, 1)
    else:
        pixels = _read(name).astype(np.float32) / 255
    pixels = (np.atleast_3d(pixels) * np.ones(3)).astype(np.float32)
    pixels.setflags(write=False)  # it is cached
    return pixels


@lru_cache(maxsize=512)
def scaled(name: str, short: int) -> np.ndarray:
    """The picture with its short side resized to `short` pixels (antialiased)."""
    image = photo(name)
    factor = short / min(image.shape[:2])
    height, width = (max(short, round(side * factor)) for side in image.shape[:2])
    return _resized(np.round(255 * image).astype(np.uint8), width, height)


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (height, width, 3) in 0..1, bicubic, antialiased."""
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return (np.asarray(image) / 255).astype(np.float32)


@lru_cache(maxsize=None)
def _square(name: str) -> np.ndarray:
    """The square of a picture that is shown, uint8 (side, side, 3), read-only."""
    pixels = np.atleast_3d(_read(name))
    side = min(pixels.shape[:2])
    top, left = (round(_SQUARES.get(name, 0.5) * (length - side))
                 for length in pixels.shape[:2])
    square = pixels[top : top + side, left : left + side]
    square = np.broadcast_to(square, (side, side, 3)).copy()
    square.setflags(write=False)  # it is cached
    return square


def photographs(size: int, names: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
    """Photographs to look at, by name: float32 (3, size, size) in 0..1.

    Each is a whole picture but for what a square cuts off (of the retina: the square in
    the round eye), resized with antialiasing; grey ones have three equal channels.
    `names` are some of SHOWN, None is all; ValueError for others and for size < 1.

    They are never scored and never trained on. But pieces of them serve the generated
    sets, as backgrounds of one split (PHOTOS) or, like chelsea's fur, as materials of
    both (TEXTURES): a network may have met the pixels, so what it makes of a photograph
    shows how it works, not how well.
    """
    whole("size", size, 1)
    chosen = SHOWN if names is None else tuple(names)
    for name in chosen:
        one_of("photograph", name, SHOWN)
    images = (_resized(_square(name), size, size).transpose(2, 0, 1) for name in chosen)
    return {n: torch.from_numpy(i.copy()) for n, i in zip(chosen, images)}


def piece(rng: Generator, name: str, size: int, low: float, high: float,
          jitter: float | None = None) -> np.ndarray:
    """A random (size, size, 3) piece of a picture, mirrored or turned by 90 degrees.

    The short side has one of four lengths from `low` to `high` pixels, which are kept,
    so that a crop is a slice. `jitter` changes brightness and hue, without clipping.
    """
    image = scaled(name, max(size, round(_ladder(low, high, 4)[rng.integers(4)])))
    top, left = (rng.integers(side - size + 1) for side in image.shape[:2])
    view = image[top : top + size, left : left + size]
    turn = rng.integers(8)
    view = view[:: 1 - 2 * (turn & 1), :: 1 - (turn & 2)]
    view = view.transpose(1, 0, 2) if turn & 4 else view
    if jitter is None:
        return view.copy()
    brightness, hue = rng.uniform(-1, 0.6), rng.uniform(-0.7, 0.7, 3)
    return view * ((1 + jitter * brightness) * (1 + jitter * hue)).astype(np.float32)


def crop(rng: Generator, split: str, size: int, *, name: str | None = None,
         min_scale: float = 0.4, jitter: float = 0.0) -> np.ndarray:
    """A random (size, size, 3) float32 piece of a random photograph of the split.

    `min_scale`: least share of the picture's short side that the piece covers;
    `jitter`: strength of changes of colour, 0 to 1; `name`: one picture of the split.
    """
    if not 0 < min_scale <= 1 or not 0 <= jitter <= 1:
        raise ValueError("need 0 < min_scale <= 1 and 0 <= jitter <= 1")
    whole("size", size, 1)
    known = names(split)
    name = name or PHOTOS[split][rng.integers(len(PHOTOS[split]))]
    if name not in known:
        raise ValueError(f"{name!r} is not a {split} picture; those are {known}")
    return piece(rng, name, size, size, size / min_scale, jitter or None).clip(0, 1)


def texture(rng: Generator, split: str, material: str, size: int, *,
            scene: int | None = None, jitter: float = 0.35) -> np.ndarray:
    """A random (size, size, 3) float32 piece of a material, for a `scene` this wide."""
    whole("size", size, 1)
    one_of("material", material, MATERIALS)
    low, high = (side * (scene or size) for side in TEXTURES[material][3])
    return piece(rng, f"{material}/{split}", size, low, high, jitter).clip(0, 1)
