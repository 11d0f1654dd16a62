"""sketch: well-formed, the same each time, legible on a phone, and nothing on top of
something else."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from myst_nb.core.render import get_mime_priority

from utils import plots
from utils.sketch import BENDS, WIDTH, Sketch, extent

ALT = "Three stages in a row; each has a side map below it."
SVG = "{http://www.w3.org/2000/svg}"


def stages() -> Sketch:
    s = Sketch(ALT)
    for k, size in enumerate([(96, 16), (48, 32), (24, 64)]):
        s.box(f"stage {k}", f"stage {k}\n{size[1]} <a> & b", x=k, size=size)
        s.box(f"side {k}", x=k, y=1, role="method").arrow(f"stage {k}", f"side {k}")
    s.box("fuse", "σ", x=(0, 2), y=2, role="truth").chain("stage 0", "stage 1", "stage 2")
    s.arrow("side 0", "side 2", "short", bend="under", style="dashed", role="baseline")
    return s.arrow("fuse", "fuse", "again").frame("sides", "side 0", "side 1", "side 2")


def drawing(sketch: Sketch) -> ElementTree.Element:
    return ElementTree.fromstring(sketch.svg())


def boxes(sketch: Sketch) -> dict[str, list[float]]:
    """x, y, width and height of each box, by the order in which they were added."""
    found = [r for r in drawing(sketch).iter(f"{SVG}rect") if r.get("fill") != "none"]
    return {name: [float(rect.get(key)) for key in ("x", "y", "width", "height")]
            for name, rect in zip(sketch.boxes, found, strict=True)}


def test_one_picture_with_a_name_and_its_words() -> None:
    root = drawing(stages())
    assert root.get("role") == "img" and root.get("aria-label") == ALT
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"stage 2", "64 <a> & b", "side 1", "σ", "again", "sides"} <= set(words)
    assert "&lt;a&gt; &amp; b" in stages().svg()
    quoted = Sketch('Words such as "edge" & <side> in it').box("a").svg()
    assert ElementTree.fromstring(quoted).get("aria-label").endswith("<side> in it")


def test_the_same_calls_give_the_same_letters_and_no_id() -> None:
    one = stages()
    assert one.svg() == one.svg() == stages().svg()
    assert not re.search(r"\bid=|url\(|http(?!://www.w3.org/2000/svg)", one.svg())


def test_bundle_is_markup_for_the_page_and_a_picture_of_its_own() -> None:
    bundle = stages()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
    assert bundle["text/html"] == bundle["image/svg+xml"] and ALT in bundle["text/plain"]
    assert "svg:root" in bundle["text/html"]  # paper and ink only where no page has them
    order = get_mime_priority("html", [])
    assert order.index("text/html") < order.index("image/svg+xml")  # the theme reaches it


def test_everything_lies_within_the_sheet() -> None:
    root = drawing(stages())
    left, top, width, height = map(float, root.get("viewBox").split())
    spots = [(float(r.get("x")) + sx * float(r.get("width")),
              float(r.get("y")) + sy * float(r.get("height")))
             for r in root.iter(f"{SVG}rect") for sx in (0, 1) for sy in (0, 1)]
    for line in [*root.iter(f"{SVG}path"), *root.iter(f"{SVG}polygon")]:
        numbers = re.findall(r"-?\d+\.\d", line.get("d") or line.get("points"))
        spots += zip(map(float, numbers[::2]), map(float, numbers[1::2]))
    for text in root.iter(f"{SVG}text"):
        wide = extent(text.text)[0]
        start = float(text.get("x")) - wide * {"start": 0, "middle": 0.5, "end": 1}[
            text.get("text-anchor")]
        spots += [(start, float(text.get("y"))), (start + wide, float(text.get("y")) - 11)]
    assert (left, width) == (0, WIDTH)
    assert all(0 <= x <= WIDTH and top <= y <= top + height for x, y in spots)


def test_type_is_legible_on_a_phone() -> None:
    """The book's column is 342 pixels wide where the window has 390."""
    sizes = {float(t.get("font-size")) for t in drawing(stages()).iter(f"{SVG}text")}
    assert min(sizes) * 342 / WIDTH >= 11


def test_height_is_resolution_and_width_is_channels() -> None:
    placed = boxes(stages())
    heights = [placed[f"stage {k}"][3] for k in range(3)]
    widths = [placed[f"stage {k}"][2] for k in range(3)]
    assert heights == sorted(heights, reverse=True) and heights[0] == 72 > heights[2]
    assert widths == sorted(widths) and widths[2] == 34 > widths[0]
    for k in range(3):  # a column and a row have one middle
        assert placed[f"stage {k}"][0] + widths[k] / 2 == pytest.approx(
            placed[f"side {k}"][0] + placed[f"side {k}"][2] / 2, abs=0.11)
    same = boxes(Sketch(ALT).box("a", size=(8, 8)).box("b", x=1, size=(8, 8)))
    assert same["a"][2:] == same["b"][2:]


def test_a_box_may_span_and_lie_between() -> None:
    s = Sketch(ALT).box("a").box("b", x=2).box("c", x=1, y=1).box("all", x=(0, 2), y=2)
    s.box("half", x=0.5, y=3).box("tall", x=3, y=(0, 2))
    at = boxes(s)
    assert at["all"][0] <= at["a"][0] and sum(at["all"][::2]) >= sum(at["b"][::2])
    assert at["tall"][1] <= at["a"][1] and at["tall"][3] > 3 * at["a"][3]
    middle = {name: at[name][0] + at[name][2] / 2 for name in at}
    assert middle["half"] == pytest.approx((middle["a"] + middle["c"]) / 2, abs=0.2)


def ends(start: str, end: str, bend: str) -> list[tuple[float, float]]:
    """The points of the one arrow of a sketch with four boxes on a square."""
    s = Sketch(ALT)
    for name, x, y in (("a", 0, 0), ("b", 1, 0), ("c", 0, 1), ("d", 1, 1)):
        s.box(name, name * 3, x=x, y=y)
    path = next(drawing(s.arrow(start, end, bend=bend)).iter(f"{SVG}path")).get("d")
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d", path)]
    return list(zip(numbers[::2], numbers[1::2]))


@pytest.mark.parametrize("bend", BENDS)
def test_arrows_leave_one_box_and_reach_the_other(bend: str) -> None:
    s = Sketch(ALT)
    for name, x, y in (("a", 0, 0), ("b", 1, 0), ("c", 0, 1), ("d", 1, 1)):
        s.box(name, name * 3, x=x, y=y)
    at = boxes(s)

    def touches(name: str, point: tuple[float, float]) -> bool:
        x, y, width, height = at[name]
        return x - 6 <= point[0] <= x + width + 6 and y - 6 <= point[1] <= y + height + 6

    path = ends("a", "d", bend)
    assert touches("a", path[0]) and touches("d", path[-1])
    assert all(abs(p[0] - q[0]) < 8 or abs(p[1] - q[1]) < 8 for p, q in pairwise(path))


def test_straight_bent_and_round() -> None:
    across, down = ends("a", "b", ""), ends("a", "c", "")
    assert len(across) == len(down) == 2
    assert across[0][1] == across[1][1] and down[0][0] == down[1][0]
    for path in (ends("a", "b", "over"), ends("a", "a", "")):  # head: 5 units
        assert min(y for _, y in path) < path[0][1] == pytest.approx(path[-1][1] + 5)


@pytest.mark.parametrize("role", ["method", "baseline", "truth", "third"])
def test_roles_have_the_colours_of_the_figures(role: str) -> None:
    svg = Sketch(ALT).box("a", role=role).svg()
    assert f"var(--sketch-{role},{plots.COLORS[role]})" in svg
    assert "var(" not in Sketch(ALT).box("a").svg()
    assert "<rect" not in Sketch(ALT).box("a", role="words").svg()


@pytest.mark.parametrize("wrong, message", [
    (lambda: Sketch("too short"), "20 or more characters"),
    (lambda: Sketch(ALT).svg(), "empty"),
    (lambda: stages().box("side 1"), "'side 1' already"),
    (lambda: stages().box("new", role="colour"), "no role 'colour'; there are 'plain'"),
    (lambda: stages().box("new", x=-1), "start at 0"),
    (lambda: stages().box("new", size=(0, 8)), "sizes are positive"),
    (lambda: stages().arrow("stage 0", "s"), "no box 's'; there are 'stage 0', 'side 0'"),
    (lambda: stages().arrow("stage 0", "side 0", bend="|"), "no bend"),
    (lambda: stages().arrow("fuse", "fuse", bend="-|"), "no bend '-|'; there are 'left'"),
    (lambda: stages().arrow("stage 0", "side 0", style="dotted"), "no style"),
    (lambda: stages().frame("around", "nothing"), "no box 'nothing'"),
    (lambda: stages().box("new", "on a side", y=1).svg(), "lie on each other"),
    (lambda: stages().box("long", "w" * 60, y=3).svg(), "fewer columns"),
    (lambda: stages().box("long", "w" * 60, x=(0, 1), y=3).svg(), "leaves the 342"),
])
def test_errors_say_what_was_expected(wrong, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        wrong()
