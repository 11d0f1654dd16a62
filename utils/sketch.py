"""The architecture sketch: boxes, arrows and words as one SVG that follows the theme.

Words and lines take the page's own text colour, boxes a tint of their role's colour in
`plots.COLORS`, so that the drawing is legible on a light and on a dark page alike. It
is as wide as the text of a phone: 342 units, of which a letter is 12 high. A cell that
ends in a sketch gets its number, name and caption like that of any picture, from its
`mystnb` metadata; the page takes the markup, which knows the theme, not the picture.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from html import escape
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from utils.plots import COLORS

WIDTH, MARGIN, LINE = 342, 4, 14  # units: a CSS pixel each in the column of a phone
GAPS, ROW = (12, 56), 28  # between columns, at least and at most; between rows
ROLES = ("plain", "words", *COLORS)
AROUND = {"left": (0, 0), "right": (0, 1), "over": (1, 0), "under": (1, 1)}  # axis, end
BENDS = ("", "-|", "|-", "-|-", "|-|", *AROUND)
# As a picture by itself, outside a page, the drawing brings its own paper and ink.
OPEN = """<svg xmlns="http://www.w3.org/2000/svg" class="sketch" role="img" aria-label="{}" \
viewBox="0 {:.0f} {} {:.0f}" style="display:block;margin:auto;width:100%;max-width:28rem;\
height:auto">
<style>svg:root{{background:#fff;color:#1f2328;font-family:sans-serif}}</style>
<g fill="currentColor">"""
Pair = tuple[float, float]


@dataclass(eq=False)
class Box:
    """What was asked for; `Sketch.svg` finds its length and middle along x and y."""

    label: str
    at: tuple[Pair, Pair]  # first and last column; first and last row
    size: Pair | None
    role: str
    length: list[float] = field(default_factory=lambda: [0.0, 0.0])
    middle: list[float] = field(default_factory=lambda: [0.0, 0.0])
    above: float = 0.0  # height of its words, where they do not fit inside

    def ends(self, axis: int, words: bool = True) -> Pair:
        """Where it begins and ends along x (axis 0) or y (1: there with its words)."""
        low = self.middle[axis] - self.length[axis] / 2
        return low - self.above * (axis and words), low + self.length[axis]


class Sketch:
    """Boxes on a grid of columns and rows, joined by arrows; a notebook shows it.

    >>> s = Sketch("Three stages in a row; each has a side map below it.")
    >>> for k, size in enumerate([(96, 16), (48, 32), (24, 64)]):
    ...     s.box(f"stage {k}", f"stage {k}\\n{size[1]} channels", x=k, size=size)
    ...     s.box(f"side {k}", x=k, y=1, role="method").arrow(f"stage {k}", f"side {k}")
    >>> s.chain("stage 0", "stage 1", "stage 2")

    alt: what the drawing shows, for those who do not see it: 20 characters or more.
    tall, wide: the units that the highest resolution and the most channels take.
    Unknown names raise a ValueError, and so do boxes or words that lie on each other.
    """

    def __init__(self, alt: str, *, tall: float = 72, wide: float = 34) -> None:
        if len(alt.strip()) < 20:
            raise ValueError(f"alt tells what is drawn in 20 or more characters: {alt!r}")
        self.alt, self.scale = alt, ((wide, 8), (tall, 16))
        self.boxes: dict[str, Box] = {}
        self.arrows: list[tuple[Box, Box, str, str, str, str]] = []
        self.frames: list[tuple[str, list[Box], str]] = []

    def box(self, name: str, label: str | None = None, *, x: float | Pair = 0,
            y: float | Pair = 0, size: Pair | None = None, role: str = "plain") -> Sketch:
        """Add a box in column `x` and row `y`; a pair (first, last) spans several.

        label: its words (default: the name), the lines after the first one smaller; they
        stand above the box where they do not fit inside.
        size: (resolution, channels), drawn as height and width on one scale for the whole
        sketch; without it the box fits its words, and a single letter makes a circle.
        role: a colour of `plots.COLORS`, "plain", or "words" for words without a box.
        """
        known("role", role, ROLES)
        at = tuple(p if isinstance(p, tuple) else (p, p) for p in (x, y))
        if name in self.boxes:
            raise ValueError(f"there is a box {name!r} already: each needs its own name")
        if min(*at[0], *at[1]) < 0 or size and min(size) <= 0:
            raise ValueError(f"{name!r}: columns and rows start at 0, sizes are positive")
        self.boxes[name] = Box(name if label is None else label, at, size, role)
        return self

    def arrow(self, start: str, end: str, label: str = "", *, style: str = "solid",
              bend: str = "", role: str = "plain") -> Sketch:
        """Add an arrow from a box to another, or to itself.

        bend: "" goes straight where the boxes face each other, else turns twice half-way;
        "-|" goes sideways, then up or down, "|-" the other way about; "-|-" and "|-|" turn
        twice; "over", "under", "left" and "right" go round what lies between.
        style: "solid" or "dashed".
        """
        bend = bend or "over" * (start == end)
        known("bend", bend, AROUND if start == end else BENDS)
        known("style", style, ("solid", "dashed"))
        known("role", role, ROLES)
        self.arrows.append((*self._named(start, end), label, style, bend, role))
        return self

    def chain(self, *names: str, **look: str) -> Sketch:
        """Add an arrow from each named box to the next; `look` as for `arrow`."""
        for start, end in pairwise(names):
            self.arrow(start, end, **look)
        return self

    def frame(self, label: str, first: str, *more: str, role: str = "plain") -> Sketch:
        """Add a dotted frame around the named boxes, with its label above."""
        known("role", role, ROLES)
        self.frames.append((label, self._named(first, *more), role))
        return self

    def _named(self, *names: str) -> list[Box]:
        for name in names:
            known("box", name, self.boxes)
        return [self.boxes[name] for name in names]

    def _place(self, axis: int) -> None:
        """Find every box's length and middle along x (axis 0), then along y (1)."""
        boxes, (most, least) = list(self.boxes.values()), self.scale[axis]
        sizes = [box.size[1 - axis] for box in boxes if box.size] or [1]
        ratio = math.log(max(sizes) / min(sizes))
        power = min(0.75, math.log(most / least) / ratio) if ratio else 1
        # What each column or row needs before and after its middle, and what ways round
        # and frames need besides.
        room = np.zeros((1 + math.ceil(max(box.at[axis][1] for box in boxes)), 2))
        more = np.zeros_like(room)
        for box in boxes:
            words, pad = extent(box.label), (8, 2) if box.role == "words" else (14, 8)
            box.length[axis] = words[axis] + pad[axis]
            if len(box.label) == 1 and box.role != "words":
                box.length[axis] = 20
            if box.size:
                box.length[axis] = most * (box.size[1 - axis] / max(sizes)) ** power
            if axis:
                fits = words[0] + 6 <= box.length[0] and words[1] <= box.length[1]
                box.above = 0 if fits else words[1] + 4
            first, last = box.at[axis]
            if first == last == int(first):
                half = max(box.length[0], words[0]) / 2 if axis == 0 else box.length[1] / 2
                need = half + box.above * axis, half
                room[int(first)] = np.maximum(room[int(first)], need)
        for a, b, label, _, bend, _ in self.arrows:
            if bend in AROUND and AROUND[bend][0] == axis:
                end = AROUND[bend][1]
                track = int((min, max)[end](a.at[axis][end], b.at[axis][end]))
                need = far(a, b, axis) + extent(label)[axis] + 6
                more[track, end] = max(more[track, end], need)
        for _, inside, _ in self.frames:
            more[int(min(box.at[axis][0] for box in inside)), 0] += 8 + LINE * axis
            more[math.ceil(max(box.at[axis][1] for box in inside)), 1] += 8
        room += more
        gap = ROW if axis else min(
            GAPS[1], (WIDTH - 2 * MARGIN - room.sum()) / max(1, len(room) - 1))
        if gap < GAPS[0] * (len(room) > 1):
            raise ValueError(
                f"{len(room)} columns take {room.sum():.0f} units and gaps of {GAPS[0]}, a "
                f"phone has {WIDTH}: use fewer columns, or break labels by a new line")
        lows = np.cumsum([0, *(room.sum(1) + gap)])[:-1]
        lows += 0 if axis else (WIDTH - lows[-1] - room[-1].sum()) / 2
        for box in boxes:
            first, last = box.at[axis]
            box.middle[axis] = float(np.interp(first, range(len(room)), lows + room[:, 0]))
            if first < last:
                low = (lows + more[:, 0])[int(first)]
                high = (lows + room.sum(1) - more[:, 1])[math.ceil(last)]
                box.length[axis], box.middle[axis] = high - low, (low + high) / 2

    def svg(self) -> str:
        """The drawing as one SVG element: the same calls give the same letters."""
        if not self.boxes:
            raise ValueError("the sketch is empty: add a box")
        self._place(axis=0)
        self._place(axis=1)
        parts: list[str] = []
        taken: list[tuple[str, Any, Any]] = []  # by whom; top left, bottom right corner

        def rectangle(owner: str, role: str, spots: list[Pair], look: str) -> Any:
            low, high = np.min(spots, 0), np.max(spots, 0)
            taken.append((owner, low, high))
            if role != "words":
                place = 'x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"'
                place = place.format(*low, *(high - low))
                parts.append(paint(role, f'<rect {place} stroke="currentColor" {look}/>'))
            return low

        def words(owner: str, x: float, y: float, text: str, first: int = 11,
                  anchor: str = "middle") -> None:
            wide, high = extent(text)
            left = x - wide * ("start", "middle", "end").index(anchor) / 2
            taken.append((owner, (left, y), (left + wide, y + high)))
            parts.extend(f'<text x="{x:.1f}" y="{y + LINE * n + 11:.1f}" text-anchor='
                         f'"{anchor}" font-size="{11 if n else first}">{escape(row)}</text>'
                         for n, row in enumerate(text.split("\n")) if row)

        routes = [route(a, b, bend, self.boxes.values())
                  for a, b, _, _, bend, _ in self.arrows]
        for points, (*_, label, style, bend, role) in zip(routes, self.arrows):
            parts.append(paint(role, line(points, style == "dashed")))
            taken += [("arrow", (p.real, p.imag), (p.real, p.imag)) for p in points]
            p, q = max(pairwise(points), key=lambda ends: abs(ends[1] - ends[0]))
            x, y, high = (p + q).real / 2, (p + q).imag / 2, extent(label)[1]
            if abs((p - q).imag) < abs((p - q).real):
                y, anchor = y + 3 if bend == "under" else y - high - 2, "middle"
            else:
                x, anchor = (x - 6, "end") if bend == "left" else (x + 6, "start")
                y -= high / 2
            words(f"arrow {label}", x, y, label, anchor=anchor)
        for name, box in self.boxes.items():
            spots = list(zip(box.ends(0), box.ends(1, words=False)))
            curve = 3 if box.size else 10 if len(box.label) == 1 else 6
            rectangle(name, box.role, spots, f'rx="{curve}" fill="currentColor" '
                      'fill-opacity=".15" stroke-width="1.4"')
            y = box.middle[1] - extent(box.label)[1] / 2
            words(name, box.middle[0], box.ends(1)[0] if box.above else y, box.label, 12)
        for label, inside, role in self.frames:
            spots = [(p.real, p.imag) for points, (a, b, *_) in zip(routes, self.arrows)
                     for p in points if a in inside and b in inside]
            for box in inside:
                half = max(extent(box.label)[0], box.length[0]) / 2
                spots += zip((box.middle[0] - half, box.middle[0] + half), box.ends(1))
            spots += [tuple(np.min(spots, 0) - 8), tuple(np.max(spots, 0) + 8)]
            left, top = rectangle("frame", role, spots, 'rx="8" fill="none" '
                                  'stroke-dasharray="2 3"')
            words(f"frame {label}", left + 4, top - LINE - 1, label, anchor="start")
        for (one, a, b), (other, c, d) in combinations(taken, 2):
            if (one != other and "frame" not in (one, other)
                    and min(np.minimum(b, d) - np.maximum(a, c)) > 1):
                raise ValueError(f"{one!r} and {other!r} lie on each other: move one, or "
                                 "leave a column or row free")
        low, high = (each([spot[k] for spot in taken], 0)
                     for k, each in ((1, np.min), (2, np.max)))
        if low[0] < 0 or high[0] > WIDTH:
            raise ValueError(f"the drawing leaves the {WIDTH} units of a phone: use fewer "
                             "columns, or break labels by a new line")
        return "\n".join([OPEN.format(escape(self.alt), low[1] - 3, WIDTH,
                                      high[1] - low[1] + 7), *parts, "</g></svg>"])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        drawing = self.svg()
        return {"text/plain": f"<Sketch: {self.alt}>", "text/html": drawing,
                "image/svg+xml": drawing}


def known(what: str, given: str, choices: Collection[str]) -> None:
    """Raise a ValueError that lists the choices where `given` is none of them."""
    if given not in choices:
        raise ValueError(f"no {what} {given!r}; there are {', '.join(map(repr, choices))}")


def extent(text: str) -> Pair:
    """Width and height of words in units, in a wide font: a reader's may be narrower."""
    font, rows = FontProperties(family="DejaVu Sans", size=12), text.split("\n")
    wide = [text_to_path.get_text_width_height_descent(row, font, False)[0] for row in rows]
    return max(wide), LINE * len(rows) * bool(text)


def paint(role: str, shape: str) -> str:
    """The shape in its role's colour, which a page's style sheet may change."""
    if role in COLORS:
        return f'<g style="color:var(--sketch-{role},{COLORS[role]})">{shape}</g>'
    return f'<g opacity=".65">{shape}</g>'


def far(a: Box, b: Box, axis: int) -> float:
    """How far from the boxes a way round runs: the more it passes, the farther."""
    return 9 + 7 * max(0, abs(a.at[1 - axis][0] - b.at[1 - axis][0]) - 1)


def route(a: Box, b: Box, bend: str, boxes: Iterable[Box]) -> list[complex]:
    """The corners x + iy of an arrow from a to b; `boxes` are those it may go round."""
    axis = AROUND[bend][0] if bend in AROUND else int(bend[:1] == "|")
    first, last = a.middle[1 - axis], b.middle[1 - axis]
    for along in () if bend else (0, 1):  # straight, where they face each other
        small, large = sorted((a, b), key=lambda box: box.length[1 - along])
        low, high = large.ends(1 - along, words=False)
        (_, near), (next_, _) = sorted([a.ends(along), b.ends(along)])
        if near <= next_ and low <= small.middle[1 - along] <= high:
            axis, first, last = along, *[small.middle[1 - along]] * 2
    out = a.ends(axis)[int(b.middle[axis] > a.middle[axis])]
    into = b.ends(axis)[int(a.middle[axis] > b.middle[axis])]
    turn = (out + into) / 2
    if bend in AROUND:
        end, tracks = AROUND[bend][1], (a.at[axis], b.at[axis])
        spots = [spot for box in (a, b) for spot in box.ends(1 - axis)]
        passed = [box.ends(axis)[end] for box in boxes if box.at[axis] in tracks
                  and box.ends(1 - axis)[0] < max(spots)
                  and box.ends(1 - axis)[1] > min(spots)]
        turn = (min, max)[end](passed) + far(a, b, axis) * (2 * end - 1)
        aside = min(a.length) / 4 if a is b else math.copysign(4, last - first)
        out, into = a.ends(axis)[end], b.ends(axis)[end]
        first, last = first + aside, last - aside
    corners = [(out, first), (turn, first), (turn, last), (into, last)]
    if first == last and bend not in AROUND:
        corners = [corners[0], corners[-1]]
    elif len(bend) == 2:
        corners = [(out, first), (b.middle[axis], first),
                   (b.middle[axis], b.ends(1 - axis)[int(first > last)])]
    return [complex(*(corner[::-1] if axis else corner)) for corner in corners]


def line(points: list[complex], dashed: bool) -> str:
    """SVG of a line through the points, its corners rounded, with a head at its end."""
    def xy(*spots: complex) -> str:
        return " ".join(f"{p.real:.1f} {p.imag:.1f}" for p in spots)

    def unit(step: complex) -> complex:
        return step / (abs(step) or 1)

    tip, ahead = points[-1], unit(points[-1] - points[-2])
    path = "M" + xy(points[0])
    for a, b, c in zip(points, points[1:], points[2:]):
        r = min(7, abs(a - b) / 2, abs(c - b) / 2)
        path += f" L{xy(b + r * unit(a - b))} Q{xy(b, b + r * unit(c - b))}"
    dash = ' stroke-dasharray="4 3"' * dashed
    return (f'<path d="{path} L{xy(tip - 5 * ahead)}" fill="none" stroke="currentColor" '
            f'stroke-width="1.3"{dash}/><polygon points="'
            f'{xy(tip, tip - ahead * (7 + 3.5j), tip - ahead * (7 - 3.5j))}"/>')
