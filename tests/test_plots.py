"""plots and flipbook: figures are returned, drawn once, and legible."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from utils import metrics, plots
from utils.flipbook import FRAME_BYTES, encode, flipbook


@pytest.fixture(autouse=True)
def style():
    plots.use_style()
    yield
    assert not plt.get_fignums(), "a helper left a figure open: the cell shows it twice"


def test_pictures_of_every_layout() -> None:
    assert plots.to_array(torch.zeros(3, 4, 5)).shape == (4, 5, 3)
    assert plots.to_array(torch.zeros(1, 4, 5)).shape == (4, 5)
    with pytest.raises(ValueError, match="a picture is"):
        plots.to_array(torch.zeros(2, 3, 4, 5))


def test_grid_places_pictures_titles_and_kinds() -> None:
    images = [torch.rand(3, 8, 8), torch.rand(8, 8)] * 3
    fig = plots.image_grid(images, ["a", "b"], columns=2, kind=["photo", "signed"])
    drawn = [ax for ax in fig.axes if ax.images]
    assert len(drawn) == 6 and [ax.get_title() for ax in drawn[:2]] == ["a", "b"]
    low, high = drawn[1].images[0].get_clim()
    assert low == -high  # signed values are centred at zero
    assert fig.get_figwidth() == plots.WIDTH
    with pytest.raises(ValueError, match="kind must be"):
        plots.image_grid(images, kind="rainbow")


def test_no_label_wraps_to_the_background() -> None:
    fig, axes = plots.figure()
    plots.draw(axes[0, 0], np.arange(20)[None], "labels")
    drawn = axes[0, 0].images[0].get_array()[0]
    assert drawn[0] == 0 and (drawn[1:] > 0).all() and drawn.max() < plots.LABELS.N


def test_type_is_legible_on_a_phone() -> None:
    """350 of the figure's pixels at 96 per inch: text keeps at least 8 CSS pixels."""
    points = min(plots.STYLE[key] for key in plots.STYLE if key.endswith("size"))
    assert points * 96 / 72 * 350 / (plots.WIDTH * 96) >= 8


def test_telling_channels_prefer_variety() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    maps = torch.stack([torch.ones(8, 8), x, 2 * x, y, -1.9 * x])
    assert plots.telling_channels(maps, 2) == [2, 3]
    assert set(plots.telling_channels(maps, 5)) == set(range(5))
    fig = plots.feature_maps(maps, 2)
    assert [ax.get_title() for ax in fig.axes] == ["channel 2", "channel 3"]
    with pytest.raises(ValueError, match=r"\(C, h, w\)"):
        plots.feature_maps(maps[None])


def test_curves_band_spans_the_seeds() -> None:
    fig, axes = plots.figure()
    plots.curves(axes[0, 0], {"m": [[0, 1], [2, 3]]}, roles={"m": "truth"})
    line, = axes[0, 0].lines
    assert line.get_ydata().tolist() == [1, 2]
    assert line.get_color() == plots.COLORS["truth"]
    band = axes[0, 0].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (0, 3)


@pytest.mark.parametrize("points", [1, 2, 3, 9, 10, 11, 40])
def test_smoothed_losses_stay_among_the_losses(points: int) -> None:
    """A run shorter than the smoothing keeps a curve of its own values and steps."""
    losses = np.geomspace(8, 1, points)
    (line,) = plots.loss_curves({"a": losses}, smooth=10).axes[0].lines
    x, y = line.get_data()
    window = 10 if points > 10 else max(1, points // 2)
    assert len(x) == len(y) == points - window + 1 and x[-1] == points
    assert losses.min() - 1e-9 <= y.min() and y.max() <= losses.max() + 1e-9
    assert y[0] == pytest.approx(losses[:window].mean()) and x[0] == window


def test_smoothed_curves_keep_their_own_x() -> None:
    fig, axes = plots.figure()
    x, y = [10, 20, 30, 40], [[1, 2, 3, 4], [3, 4, 5, 6]]
    (line,) = plots.curves(axes[0, 0], {"m": y}, x=x, smooth=2).lines
    assert line.get_xydata().tolist() == [[20, 2.5], [30, 3.5], [40, 4.5]]


def test_figures_need_no_style() -> None:
    """A reader who imports one function gets the same layout without `use_style`."""
    images = [torch.rand(3, 8, 8)] * 3

    def positions() -> list:
        fig = plots.image_grid(images, ["a", "b", "c"], columns=3)
        fig.draw_without_rendering()
        return [ax.get_position().bounds for ax in fig.axes]

    with plt.rc_context(plots.STYLE | {"font.size": plt.rcParamsDefault["font.size"],
                                       "axes.titlesize": 12, "figure.dpi": 100}):
        styled = positions()
    with plt.rc_context(plt.rcParamsDefault):
        assert np.allclose(positions(), styled, atol=1e-3)
        fig = plots.loss_curves({"a": [3.0, 2.0, 1.0]})
        assert fig.get_layout_engine() is not None and len(fig.axes[0].lines) == 1


def test_overlay_covers_the_picture() -> None:
    fig, axes = plots.figure()
    plots.overlay(axes[0, 0], torch.rand(3, 32, 48), torch.rand(4, 6))
    photo, heat = axes[0, 0].images
    assert photo.get_extent() == heat.get_extent()


def test_every_chart_returns_a_figure() -> None:
    truth = np.zeros((1, 16, 16))
    truth[0, 8] = 1
    curve = metrics.boundary_pr(truth, truth)
    for fig in (plots.pr_curves({"a": curve}), plots.bars({"a": 1.0, "b": 2.0}),
                plots.loss_curves({"a": np.linspace(1, 2, 30)}),
                plots.histogram({"a": torch.randn(50), "b": torch.randn(50)})):
        assert isinstance(fig, Figure)
    pr = plots.pr_curves({"a": curve}).axes[0]
    assert "a (1.00)" in [t.get_text() for t in pr.get_legend().get_texts()]


def draw(value: float) -> Figure:
    fig, axes = plots.figure(height=1.5)
    axes[0, 0].plot([0, 1], [0, value])
    return fig


def book(**options):
    given = {"label": "Slope", "alt": lambda v: f"A line of slope <{v}>"} | options
    return flipbook(draw, [0.0, 0.5, 1.0], **given)


def test_flipbook_html_stands_alone() -> None:
    html = book(start=1, show="{:.1f}".format).html()
    images = re.findall(r'<img alt="([^"]+)" data-value="([^"]+)"[^>]*?(hidden )?src="'
                        r'data:image/webp;base64,([^"]+)"', html)
    assert [i[0] for i in images] == [f"A line of slope &lt;{v}&gt;" for v in (0., .5, 1.)]
    assert [bool(i[2]) for i in images] == [True, False, True]
    for *_, data in images:
        raw = base64.b64decode(data)
        assert len(raw) <= FRAME_BYTES
        Image.open(io.BytesIO(raw)).verify()
    assert 'type="range"' in html and 'max="2"' in html and 'aria-valuetext="0.5"' in html
    assert "http" not in html


def test_flipbook_stores_no_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_STATIC", "1")
    assert set(book()._repr_mimebundle_()) == {"text/plain", "text/html"}
    monkeypatch.delenv("BOOK_STATIC")
    bundle = book()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_flipbook_widget_draws_on_demand() -> None:
    drawn = []

    def spy(value: float) -> Figure:
        drawn.append(value)
        return draw(value)

    box = flipbook(spy, [0.0, 1.0], label="Slope", alt=lambda v: f"A line of slope {v}",
                   start=1, live=[0.0, 0.25, 0.5, 1.0]).widget()
    picture, slider, words = box.children
    assert drawn == [1.0] and slider.value == 3
    before = picture.value
    slider.value = 1
    assert drawn == [1.0, 0.25] and picture.value != before and "0.25" in words.value
    slider.value = 3
    assert drawn == [1.0, 0.25] and picture.value == before


@pytest.mark.parametrize("change, message", [
    ({"start": 3}, "start must be"), ({"alt": lambda v: "short"}, "under 8 characters"),
])
def test_flipbook_refuses(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        book(**change)


def test_flipbook_frame_count_and_budget() -> None:
    with pytest.raises(ValueError, match="2 to 16 frames"):
        flipbook(draw, [1.0], label="x", alt=lambda v: "long enough")
    noise = Image.fromarray(np.random.default_rng(0).integers(
        0, 255, (500, 700, 3), dtype=np.uint8))
    small = encode(noise)
    assert len(small) <= FRAME_BYTES
    assert Image.open(io.BytesIO(small)).width < noise.width  # it had to shrink
    with pytest.raises(ValueError, match="over the budget"):
        encode(noise, budget=500)


def test_boxes_frame_whole_pixels() -> None:
    """x2, y2 are exclusive: a box 2 3 5 7 frames columns 2 to 4 and rows 3 to 6."""
    fig, axes = plots.figure()
    ax = plots.boxes(plots.draw(axes[0, 0], torch.zeros(9, 9)), [[2, 3, 5, 7]], ["cell"])
    (frame,) = ax.patches
    assert frame.get_bbox().extents.tolist() == [1.5, 2.5, 4.5, 6.5]
    assert [text.get_text() for text in ax.texts] == ["cell"]
    assert not plots.boxes(axes[0, 0], torch.zeros(0, 4)).texts[1:]


def test_mask_tints_only_the_inside() -> None:
    fig, axes = plots.figure()
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[2:4, 2:4] = True
    ax = plots.mask_over(axes[0, 0], torch.rand(3, 6, 6), mask, role="truth")
    tint = ax.images[1].get_array()
    assert (tint[..., 3] > 0).sum() == 4 and tint[2, 2, 1] == pytest.approx(0x9E / 255)
    plots.mask_over(axes[0, 0], torch.rand(3, 6, 6), torch.zeros(6, 6))  # an empty mask
