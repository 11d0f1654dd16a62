"""The generated sets: labels agree with one another, options do what they say."""

import dataclasses
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from scipy.ndimage import binary_opening
from scipy.ndimage import label as components

from utils import data
from utils.data import photos
from utils.data.scenes import SHAPES, distance


def same(a, b) -> bool:
    """Whether two results are equal to the bit."""
    for field in dataclasses.fields(a):
        one, two = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, torch.Tensor):
            one, two = [one], [two]
        if isinstance(one, list):
            if len(one) != len(two) or not all(map(torch.equal, one, two)):
                return False
        elif one != two:
            return False
    return True


def tight(mask: torch.Tensor) -> list[int]:
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.fixture(scope="module")
def crowd() -> data.Scenes:
    return data.scenes(40, "train", 64, seed=3, objects=(1, 5), clutter=2)


# --- photographs -------------------------------------------------------------


def test_no_picture_is_in_both_splits():
    assert not set(photos.names("train")) & set(photos.names("test"))
    files = {s: set(photos.PHOTOS[s]) for s in photos.SPLITS}
    assert not files["train"] & files["test"]
    textures = {file for file, *_ in photos.TEXTURES.values()}
    assert not textures & (files["train"] | files["test"])


@pytest.mark.parametrize("material", photos.MATERIALS)
def test_train_and_test_regions_of_a_material_do_not_meet(material):
    _, one, two, _ = photos.TEXTURES[material]
    apart_rows = one[1] <= two[0] or two[1] <= one[0]
    apart_columns = one[3] <= two[2] or two[3] <= one[2]
    assert apart_rows or apart_columns
    shape = photos.photo(f"{material}/train").shape
    assert shape[:2] == (one[1] - one[0], one[3] - one[2])  # inside the file


@pytest.mark.parametrize("split", photos.SPLITS)
def test_every_picture_reads_without_network(split, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a picture was looked for on the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    photos.photo.cache_clear()
    for name in photos.names(split):
        image = photos.photo(name)
        assert image.dtype == np.float32 and image.ndim == 3 and image.shape[2] == 3
        assert 0 <= image.min() and image.max() <= 1 and image.std() > 0.02


def test_a_picture_in_memory_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        photos.photo("coffee")[0, 0, 0] = 0


def test_crop_is_a_piece_of_the_named_picture():
    rng = np.random.default_rng(0)
    piece = data.crop(rng, "train", 64, name="coffee", min_scale=1.0)
    whole = photos.scaled("coffee", 64)
    turns = [np.rot90(piece, k) for k in range(4)]
    turned = turns + [turn[::-1] for turn in turns]
    starts = range(whole.shape[1] - 63)
    assert any(np.array_equal(whole[:, s : s + 64], t) for s in starts for t in turned)


def test_crop_fills_any_size_and_jitter_changes_colour_only():
    for size in (16, 224):
        crop = data.crop(np.random.default_rng(1), "test", size)
        assert crop.shape == (size, size, 3) and crop.dtype == np.float32
    plain = data.crop(np.random.default_rng(2), "test", 32, name="moon")
    tinted = data.crop(np.random.default_rng(2), "test", 32, name="moon", jitter=0.3)
    ratio = tinted / np.maximum(plain, 1e-6)
    assert ratio.std((0, 1)).max() < 0.01 and np.ptp(ratio.mean((0, 1))) > 0.01


def test_crop_refuses_pictures_of_the_other_split():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not a test picture"):
        data.crop(rng, "test", 32, name="coffee")
    with pytest.raises(ValueError, match="min_scale"):
        data.crop(rng, "test", 32, min_scale=0)
    with pytest.raises(ValueError, match="unknown picture"):
        data.photo("lena")


def test_pieces_refuse_sizes_that_are_none():
    rng = np.random.default_rng(0)
    for size in (0, -8, 2.5, True):
        with pytest.raises(ValueError, match="size must be an integer >= 1"):
            data.crop(rng, "train", size)
        with pytest.raises(ValueError, match="size must be an integer >= 1"):
            data.texture(rng, "train", "brick", size)


@pytest.mark.parametrize("family", data.GENERATED)
@pytest.mark.parametrize(("bad", "expected"), [
    ({"n": 0}, "n must be an integer >= 1, got 0"), ({"n": -2}, "n must .* got -2"),
    ({"n": 1.5}, "n must"), ({"n": True}, "n must"),
    ({"size": 0}, r"size must be an integer >= \d\d, got 0"),
    ({"size": -64}, "size must .* got -64"), ({"size": 64.0}, "size must"),
    ({"seed": -1}, "seed must be an integer >= 0, got -1"), ({"seed": None}, "seed must"),
])
def test_every_family_says_which_numbers_it_expects(family, bad, expected):
    with pytest.raises(ValueError, match=expected):
        data.load(family, **{"n": 2} | bad)


# --- whole photographs -------------------------------------------------------


def test_photographs_are_squares_in_range():
    made = data.photographs(96)
    assert tuple(made) == photos.SHOWN
    assert {"astronaut", "chelsea", "coffee", "rocket", "motorcycle", "hopper", "china",
            "flower", "camera", "coins"} <= set(made)
    for name, image in made.items():
        assert image.shape == (3, 96, 96) and image.dtype == torch.float32
        assert image.is_contiguous() and 0 <= image.min() and image.max() <= 1
        assert image.std() > 0.02
        grey = name in ("camera", "coins", "moon", "page")
        assert torch.equal(image[0], image[2]) == grey
    large = data.photographs(640, ["page"])["page"]  # a file of 191 rows is enlarged
    assert large.shape == (3, 640, 640)


def test_photographs_are_the_files_themselves():
    """The astronaut is square, the cat's middle is shown, the officer's cap is in."""
    made = data.photographs(512, ("astronaut", "hopper"))
    assert list(made) == ["astronaut", "hopper"]
    file = Image.open(Path(skimage.__file__).parent / "data/astronaut.png")
    pixels = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1) / 255
    assert torch.equal(made["astronaut"], pixels)
    small = np.asarray(file.convert("RGB").resize((128, 128), Image.Resampling.BICUBIC))
    expected = torch.from_numpy(small.copy()).permute(2, 0, 1) / 255
    assert torch.equal(data.photographs(128, ["astronaut"])["astronaut"], expected)
    hopper = get_sample_data("grace_hopper.jpg", asfileobj=False)
    top = np.asarray(Image.open(hopper).convert("RGB"))[:512]
    assert (255 * made["hopper"] - torch.tensor(top).permute(2, 0, 1)).abs().max() < 3
    cat = np.asarray(Image.open(Path(skimage.__file__).parent / "data/chelsea.png"))
    middle = torch.tensor(cat[:, 76:376]).permute(2, 0, 1) / 255
    assert torch.equal(data.photographs(300, ["chelsea"])["chelsea"], middle)


def test_photographs_are_antialiased():
    """Small ones are means of regions: their mean is that of the large ones."""
    large, small = data.photographs(480), data.photographs(48)
    for name in photos.SHOWN:
        mean = torch.nn.functional.avg_pool2d(large[name], 10)
        assert (mean - small[name]).abs().mean() < 0.02


def test_photographs_twice_are_equal_and_do_not_share_memory():
    one = data.photographs(64, ["coffee"])["coffee"]
    kept = one.clone()
    one.zero_()
    assert torch.equal(data.photographs(64, ["coffee"])["coffee"], kept)
    with pytest.raises(ValueError, match="read-only"):
        photos._square("coffee")[0, 0, 0] = 0


def test_photographs_come_with_the_packages(monkeypatch, tmp_path):
    """With an empty folder of downloads, nothing is asked of the network."""
    def refuse(*_, **__):
        raise AssertionError("a picture was looked for on the network")

    fetcher = skimage.data._fetchers._image_fetcher
    monkeypatch.setattr(fetcher, "path", tmp_path)
    monkeypatch.setattr(fetcher, "fetch", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    photos._square.cache_clear()
    assert len(data.photographs(8)) == len(photos.SHOWN)
    with pytest.raises(AssertionError, match="on the network"):
        skimage.data.eagle()  # one that is not in the package: the refusal works


def test_photographs_refuse_unknown_names_and_sizes():
    with pytest.raises(ValueError, match="'astronaut'.*'page'.*got 'lena'"):
        data.photographs(64, ["coffee", "lena"])
    for size in (0, -8, 1.5, None):
        with pytest.raises(ValueError, match="size must be an integer >= 1"):
            data.photographs(size)
    assert data.photographs(64, ()) == {}


# --- scenes ------------------------------------------------------------------


def test_scenes_have_the_promised_types_and_shapes(crowd):
    assert len(crowd) == 40
    assert crowd.image.shape == (40, 3, 64, 64) and crowd.image.dtype == torch.float32
    assert 0 <= crowd.image.min() and crowd.image.max() <= 1
    assert crowd.image.is_contiguous()
    for maps in (crowd.classes, crowd.instances):
        assert maps.shape == (40, 64, 64) and maps.dtype == torch.int64
    assert crowd.boundary.dtype == torch.float32
    assert set(crowd.boundary.unique().tolist()) == {0.0, 1.0}
    assert crowd.class_names == ("background", *SHAPES)
    counts = [len(boxes) for boxes in crowd.boxes]
    assert min(counts) == 1 and max(counts) == 5


def test_boxes_and_classes_agree_with_the_instances(crowd):
    for i in range(len(crowd)):
        ids = crowd.instances[i]
        count = len(crowd.boxes[i])
        assert ids.unique().tolist() == list(range(count + 1))
        assert torch.equal(crowd.classes[i] > 0, ids > 0)
        for k in range(1, count + 1):
            mask = ids == k
            assert crowd.boxes[i][k - 1].tolist() == tight(mask)
            assert crowd.classes[i][mask].unique().tolist() == [
                int(crowd.box_classes[i][k - 1])
            ]


def test_boundary_is_exactly_the_front_side_of_every_change(crowd):
    for ids, edge in zip(crowd.instances.numpy(), crowd.boundary.numpy()):
        padded = np.pad(ids, 1, mode="edge")
        around = [padded[1 + a : 65 + a, 1 + b : 65 + b] for a, b in
                  ((-1, 0), (1, 0), (0, -1), (0, 1))]  # fmt: skip
        assert np.array_equal(edge > 0, np.min(around, axis=0) < ids)
        # each pair of different neighbours is separated by exactly one marked pixel
        pairs = ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1]))
        for one, two in pairs:
            front = np.where(ids[one] > ids[two], edge[one], edge[two])
            assert (front[ids[one] != ids[two]] == 1).all()


def test_boundary_by_hand_and_under_mirrors():
    ids = np.zeros((5, 6), int)
    ids[1:4, 1:4], ids[2:4, 3:5] = 1, 2
    expected = ["......", ".###..", ".#.##.", ".####.", "......"]
    drawn = ["".join(".#"[v] for v in row.astype(int)) for row in data.boundaries(ids)]
    assert drawn == expected
    for turn in (np.fliplr, np.flipud, np.transpose, np.rot90):
        assert np.array_equal(data.boundaries(turn(ids)), turn(data.boundaries(ids)))


def test_image_changes_where_objects_are_and_nowhere_else():
    """Scenes that differ in contrast alone differ on objects alone."""
    one = data.scenes(20, seed=5, contrast=1.0)
    two = data.scenes(20, seed=5, contrast=0.0)
    assert torch.equal(one.instances, two.instances)
    changed = (one.image != two.image).any(1)
    near = torch.nn.functional.max_pool2d((one.instances > 0)[:, None].float(), 5, 1, 2)
    assert not (changed & (near[:, 0] == 0)).any()  # soft edges, longer at sharp tips
    assert changed[one.instances > 0].float().mean() > 0.9


def test_every_object_stays_visible():
    crowd = data.scenes(60, seed=1, objects=(4, 4), scale=(0.3, 0.5))
    smallest = min(torch.bincount(ids.flatten()).min() for ids in crowd.instances)
    assert smallest >= 25


@pytest.mark.parametrize("family", ["scenes", "digits", "cells"])
def test_same_arguments_same_bits(family):
    first = data.load(family, 6, "train", seed=4)
    assert same(first, data.load(family, 6, "train", seed=4))
    assert not torch.equal(first.image, data.load(family, 6, "train", seed=5).image)
    assert not torch.equal(first.image, data.load(family, 6, "test", seed=4).image)


def test_scenes_do_not_depend_on_how_many_are_asked_for():
    few, many = data.scenes(3, seed=2), data.scenes(9, seed=2)
    assert torch.equal(few.image, many.image[:3])


def test_without_overlap_objects_keep_two_pixels_apart():
    apart = data.scenes(40, objects=(3, 4), scale=(0.2, 0.4), overlap=False)
    for ids in apart.instances.float():
        grown = torch.nn.functional.max_pool2d(ids[None, None], 3, 1, 1)[0, 0]
        assert ((grown == ids) | (ids == 0)).all()
    mixed = data.scenes(40, objects=(3, 4), scale=(0.2, 0.4))
    touching = 0
    for ids in mixed.instances.float():
        grown = torch.nn.functional.max_pool2d(ids[None, None], 3, 1, 1)[0, 0]
        touching += bool(((grown != ids) & (ids > 0)).any())
    assert touching > 20


def test_scale_bounds_the_diameter():
    made = data.scenes(60, size=96, objects=(1, 1), scale=(0.3, 0.5))
    boxes = torch.cat(made.boxes)
    side = (boxes[:, 2:] - boxes[:, :2]).max(1).values / 96
    assert side.max() <= 0.5 + 2 / 96 and side.min() >= 0.2  # a triangle's height
    disc = torch.cat(made.box_classes) == 1 + SHAPES.index("disc")
    assert side[disc].min() >= 0.3 - 2 / 96


def test_rotation_turns_squares():
    def fill(rotate):
        made = data.scenes(60, objects=(1, 1), scale=(0.4, 0.5), rotate=rotate)
        square = torch.cat(made.box_classes) == 1 + SHAPES.index("square")
        boxes = torch.cat(made.boxes)[square]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        return (made.instances[square] > 0).sum((1, 2)) / area

    assert (fill(False) == 1).all()
    assert fill(True).mean() < 0.8


def test_clutter_changes_pixels_but_no_label_kind():
    """Clutter patches are background: a scene without objects has no label."""
    plain = data.scenes(8, objects=(0, 0))
    messy = data.scenes(8, objects=(0, 0), clutter=10)
    assert messy.classes.sum() == 0 and messy.boundary.sum() == 0
    assert all(boxes.shape == (0, 4) for boxes in messy.boxes)
    changed = (plain.image[0] != messy.image[0]).any(0).numpy()
    assert 0.01 < changed.mean() < 0.6
    patches = binary_opening(changed, np.ones((3, 3)))  # pieces of 3 x 3 and larger
    assert patches.sum() > 0.9 * changed.sum()
    assert 2 <= components(patches)[1] <= 20  # ten are expected, some touch


@pytest.mark.parametrize("class_by", ["shape", "texture", "both"])
def test_class_by_decides_what_tells_the_class(class_by):
    """Area over squared diameter identifies an upright shape; colour-free contrast
    statistics are left to the network, here the painted kinds are compared."""
    made = data.scenes(80, objects=(1, 1), class_by=class_by, rotate=False)
    names = made.class_names
    boxes, kinds = torch.cat(made.boxes), torch.cat(made.box_classes)
    full = (made.instances > 0).sum((1, 2)) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
    square_class = {"shape": "square", "texture": "grass", "both": "grass square"}
    chosen = full[kinds == names.index(square_class[class_by])]
    assert len(names) == 7 and names[0] == "background" and len(chosen) > 4
    if class_by == "texture":
        assert chosen.min() < 0.7 < chosen.max()  # several shapes
    else:
        assert (chosen == 1).all()  # always the square


def test_texture_statistics_follow_the_class():
    """Print is the brightest material, so its class shows; shapes mix materials."""
    made = data.scenes(100, objects=(1, 1), class_by="texture", scale=(0.5, 0.6))
    kinds = torch.cat(made.box_classes)
    means = torch.stack([
        made.image[i].mean(0)[made.instances[i] > 0].mean() for i in range(len(made))
    ])  # fmt: skip
    by_class = torch.stack([means[kinds == k].mean() for k in range(1, 7)])
    brick, printed = photos.MATERIALS.index("brick"), photos.MATERIALS.index("print")
    assert by_class[printed] > by_class[brick] + 0.15


def test_contrast_zero_hides_the_mean_colour():
    def gap(contrast):
        made = data.scenes(60, objects=(1, 1), contrast=contrast, seed=9)
        gaps = []
        for image, ids in zip(made.image, made.instances):
            inside = ids > 0
            ring = torch.nn.functional.max_pool2d(inside[None].float(), 9, 1, 4)[0] > 0
            outside = ring & ~inside
            gaps.append((image[:, inside].mean(1) - image[:, outside].mean(1)).abs())
        return torch.stack(gaps).mean()

    assert gap(0.0) < 0.6 * gap(1.0)


def test_brightness_alone_does_not_find_the_objects():
    made = data.scenes(60, seed=11)
    truth = made.instances > 0
    grey = made.image.mean(1)
    best = 0.0
    for cut in torch.linspace(0.1, 0.9, 17):
        for found in (grey > cut, grey < cut):
            best = max(best, float((found & truth).sum() / (found | truth).sum()))
    assert best < 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_fit_the_unit_circle_and_have_a_true_outline(shape):
    v, u = np.mgrid[-1.2:1.2:241j, -1.2:1.2:241j]
    inside = distance(shape, u, v) < 0
    assert inside.any() and np.hypot(u, v)[inside].max() <= 1.0
    assert np.hypot(u, v)[inside].max() > 0.9
    assert components(inside)[1] == 1


def test_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="disc"):
        distance("blob", np.zeros((1, 1)), np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be"),
        ({"split": "val"}, "split must be"),
        ({"size": 8}, "size must be"),
        ({"seed": -1}, "seed must be"),
        ({"objects": (3, 2)}, "objects must be"),
        ({"objects": (3,)}, "objects must be"),
        ({"class_by": "colour"}, "class_by must be"),
        ({"scale": (0.05, 0.5)}, "scale must be"),
        ({"scale": (0.5, 1.5)}, "scale must be"),
        ({"clutter": -1}, "clutter"),
        ({"contrast": 3}, "contrast"),
        ({"objects": (9, 9), "scale": (0.5, 0.5), "overlap": False}, "no room"),
    ],
)
def test_scenes_refuse_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        data.scenes(**{"n": 2} | options)


@pytest.mark.parametrize(("family", "size", "wanted"), [
    ("scenes", 64, 500), ("aerial", 64, 300), ("city", 64, 300), ("wires", 32, 1000),
    ("strokes", 24, 1000), ("words", 96, 300), ("brains", 96, 50)])
def test_speed(family: str, size: int, wanted: int) -> None:
    """A tenth of what a normal core gives is a fault; less than all of it, a warning."""
    data.load(family, 20, size=size)  # photographs are read once
    start = time.process_time()
    data.load(family, 100, size=size)
    rate = 100 / (time.process_time() - start)
    if rate < wanted:
        warnings.warn(f"only {rate:.0f} {family} of {size}x{size} a second", stacklevel=1)
    assert rate > wanted / 10


@pytest.mark.parametrize("family", data.GENERATED)
def test_results_are_frozen(family: str) -> None:
    made = data.load(family, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.image = None


# --- digits ------------------------------------------------------------------


def test_glyphs_are_split_by_instance():
    (train, one), (test, two) = data.glyphs("train"), data.glyphs("test")
    assert len(train) + len(test) == 1797 and len(one) == 1200 and len(two) == 597
    assert train.shape[1:] == (16, 16) and train.dtype == np.float32
    assert 0 <= train.min() and train.max() <= 1
    assert set(one) == set(two) == set(range(10))
    assert not {g.tobytes() for g in train} & {g.tobytes() for g in test}


@pytest.mark.parametrize("background", ["photo", "plain"])
def test_digits_boxes_are_tight_about_their_mask(background):
    made = data.digits(50, "test", 32, background=background)
    assert made.image.shape == (50, 3, 32, 32) and made.image.dtype == torch.float32
    assert made.label.dtype == torch.int64 and len(set(made.label.tolist())) > 7
    for box, mask in zip(made.box, made.mask):
        assert box.tolist() == tight(mask)


def test_digits_clutter_and_noise_do_what_they_say():
    calm = data.digits(30, background="plain", clutter=0, noise=0)
    grounds = torch.where(calm.mask[:, None] == 1, torch.nan, calm.image)
    flat = grounds[:, :, 0].nanmedian(-1).values  # top row: mostly bare ground
    bare = (calm.image - flat[..., None, None]).abs().amax(1) < 1e-6
    assert bare.float().mean() > 0.6
    messy = data.digits(30, background="plain", clutter=6, noise=0)
    assert messy.image.std((2, 3)).mean() > calm.image.std((2, 3)).mean()
    noisy = data.digits(30, background="plain", clutter=0, noise=0.1)
    assert (noisy.image - calm.image).abs().mean() > 0.03


def test_digits_refuse_bad_options():
    for options in ({"size": 12}, {"background": "white"}, {"clutter": -1}):
        with pytest.raises(ValueError):
            data.digits(2, **options)


# --- cells -------------------------------------------------------------------


def test_cells_never_touch_and_agree_with_their_mask():
    made = data.cells(30)
    assert made.image.shape == (30, 1, 64, 64) and made.image.dtype == torch.float32
    assert torch.equal(made.mask, (made.instances > 0).long())
    for ids in made.instances.numpy():
        assert np.array_equal(np.unique(ids), np.arange(ids.max() + 1))
        assert np.bincount(ids.ravel())[1:].min() >= 30
        pairs = ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]),
                 (np.s_[1:, 1:], np.s_[:-1, :-1]),
                 (np.s_[1:, :-1], np.s_[:-1, 1:]))  # fmt: skip
        for a, b in pairs:
            assert ((ids[a] == ids[b]) | (ids[a] == 0) | (ids[b] == 0)).all()


def test_cells_have_gaps_that_close_neighbours_share():
    """Most pictures hold cells three pixels apart: what the weight map is for."""
    from scipy.ndimage import distance_transform_edt

    close = 0
    for ids in data.cells(20, "test").instances.numpy():
        far = [distance_transform_edt(ids != k) for k in range(1, ids.max() + 1)]
        two = np.sort(np.stack(far), axis=0)[:2].sum(0)
        close += (two[ids == 0] <= 4).sum() > 20
    assert close >= 15


def test_cells_options():
    wide = data.cells(10, gap=5).mask.float().mean()
    assert wide < data.cells(10, gap=2).mask.float().mean()
    few = data.cells(10, count=(2, 3))
    assert few.instances.amax((1, 2)).max() <= 3
    clean, noisy = data.cells(5, noise=0), data.cells(5, noise=0.2)
    assert clean.image.diff(dim=3).abs().mean() < noisy.image.diff(dim=3).abs().mean()
    inside = clean.image[:, 0][clean.mask == 1].mean()
    assert inside > clean.image[:, 0][clean.mask == 0].mean() + 0.05
    for bad in ({"count": (1, 3)}, {"radius": (1, 2)}, {"gap": 0}, {"noise": -1}):
        with pytest.raises(ValueError):
            data.cells(2, **bad)


# --- load --------------------------------------------------------------------


def test_load_dispatches_and_lists_what_it_knows():
    assert same(data.load("cells", 3, seed=1), data.cells(3, seed=1))
    with pytest.raises(ValueError, match="scenes, digits, cells, clips, .*, bsds500"):
        data.load("imagenet")
