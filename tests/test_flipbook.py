"""The control: slider, buttons and switches, in a real browser and in a live kernel."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from utils import plots
from utils.flipbook import ALL_BYTES, Flipbook, flipbook, narrowest

NAMES = ("first", "second", "third")


def draw(value) -> plt.Figure:
    fig, axes = plots.figure(1, 2, 2.0)
    for ax in axes[0]:
        plots.draw(ax, np.full((8, 8), hash(str(value)) % 97 / 97))
    return fig


def make(kind: str) -> Flipbook:
    values = {"slider": [0.0, 0.5, 1.0], "buttons": ["no side", "side 1", "all"],
              "switches": [tuple(n for j, n in enumerate(NAMES) if k >> j & 1)
                           for k in range(8)]}[kind]
    return flipbook(draw, values, label="Which part", kind=kind, start=1,
                    alt=lambda v: f"A picture made with {v}",
                    show=lambda v: " and ".join(v) if isinstance(v, tuple) else str(v),
                    switches=NAMES if kind == "switches" else ())


@pytest.mark.parametrize("kind, keys, shown", [
    ("slider", ["ArrowRight"], "1.0"), ("slider", ["Home"], "0.0"),
    ("buttons", ["ArrowRight"], "all"), ("buttons", ["ArrowLeft"], "no side"),
    ("switches", ["Space"], ""), ("switches", ["Tab", "Space"], "first and second"),
    ("switches", ["Tab", "Tab", "Space"], "first and third"),
])
def test_keys_choose_the_frame(browser, kind: str, keys: list, shown: str) -> None:
    page = browser.new_page()
    page.set_content(make(kind).html())
    page.locator("input:checked, input[type=range]").first.focus()
    for key in keys:
        page.keyboard.press(key)
    visible = page.locator("img:visible")
    assert visible.count() == 1
    assert visible.get_attribute("data-value") == shown
    assert page.locator("output").text_content() == shown
    page.close()


@pytest.mark.parametrize("kind", ["slider", "buttons", "switches"])
def test_every_input_has_a_name(browser, kind: str) -> None:
    page = browser.new_page()
    page.set_content(make(kind).html())
    roles = {"slider": "slider", "buttons": "radio", "switches": "checkbox"}
    found = page.get_by_role(roles[kind])
    names = [found.nth(i).evaluate("e => e.labels[0].textContent.trim()")
             for i in range(found.count())]
    assert names == {"slider": ["Which part"], "buttons": ["no side", "side 1", "all"],
                     "switches": list(NAMES)}[kind]
    assert page.get_by_role("group", name="Which part").count() >= 1
    page.close()


def test_html_is_the_same_each_time() -> None:
    """Two controls on one page must not share a group of buttons."""
    first, again = (make("buttons").html() for _ in range(2))
    assert first == again
    other = flipbook(draw, ["a", "b"], label="Another", kind="buttons",
                     alt=lambda v: "a picture of it").html()
    groups = [set(re.findall(r'name="(flipbook-\w+)"', text)) for text in (first, other)]
    assert len(groups[0]) == len(groups[1]) == 1 and groups[0] != groups[1]


def test_live_switches_and_buttons_redraw() -> None:
    drawn = []

    def spy(value):
        drawn.append(value)
        return draw(value)

    values = [(), ("a",), ("b",), ("a", "b")]
    box = flipbook(spy, values, label="On", kind="switches", switches=("a", "b"),
                   alt=lambda v: f"switched on: {v}").widget()
    drawn.clear()
    box.children[1].children[2].value = True
    assert drawn == [("b",)]
    box = flipbook(spy, ["x", "y"], label="Which", kind="buttons",
                   alt=lambda v: f"a picture of {v}").widget()
    box.children[1].value = 1
    assert drawn[-1] == "y"


def test_many_frames_share_the_budget() -> None:
    noise = np.random.default_rng(0)

    def busy(value):
        fig, axes = plots.figure(1, 1, 4.0)
        plots.draw(axes[0, 0], noise.random((200, 200)))
        return fig

    html = flipbook(busy, list(range(16)), label="Noise", kind="slider",
                    alt=lambda v: f"noise number {v}").html()
    assert len(html) < ALL_BYTES * 4 / 3 + 10_000


def test_width_of_the_panels_is_told() -> None:
    assert 0.3 < narrowest(draw(0)) < 0.34  # squares as high as the figure allows
    fig, _ = plots.figure(1, 4, 2.0)
    assert narrowest(fig) == 1.0  # no picture in it
    share = float(re.search(r'data-panel="([\d.]+)"', make("slider").html())[1])
    assert share == pytest.approx(narrowest(draw(0)), abs=1e-3)


@pytest.mark.parametrize("change, message", [
    ({"kind": "dial"}, "kind must be one of"),
    ({"kind": "switches"}, "needs the names"),
    ({"kind": "switches", "switches": ("a", "b")}, "2 names, 2 values"),
    ({"switches": ("a",)}, "kind 'slider'"),
])
def test_refusals(change: dict, message: str) -> None:
    given = {"label": "x", "alt": lambda v: "long enough"} | change
    with pytest.raises(ValueError, match=message):
        flipbook(draw, [0.0, 1.0], **given)
