"""The book's one control: pictures behind a slider, buttons or switches.

In a stored notebook and in the rendered page it is plain HTML: native inputs over frames
drawn beforehand. It needs no kernel, no network and no widget library; the keyboard
works, and every frame has its own alternative text. Under a live kernel the same object
shows an ipywidgets control that draws each position when it is asked for.
"""

from __future__ import annotations

import base64
import hashlib
import io
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache, partial
from html import escape
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from utils import runtime

MOST_FRAMES = 16
ALL_BYTES = 300_000  # twelve frames of 25 KB
FRAME_BYTES = 25_000
FRAME_DPI = 120
KINDS = ("slider", "buttons", "switches")

# The picture, the spoken value and the written value move together. Which frame: the
# slider's value, the place of the checked button, or the switches read as binary digits.
ON_INPUT = (
    "const f=this.closest('figure'),m=f.querySelectorAll('img'),"
    "i=[...f.querySelectorAll('input')],t=this.type,k=t==='range'?+this.value:"
    "t==='radio'?i.indexOf(this):i.reduce((s,e,j)=>s+(e.checked<<j),0);"
    "m.forEach((e,n)=>{e.hidden=n!==k});"
    "if(t==='range')this.setAttribute('aria-valuetext',m[k].dataset.value);"
    "f.querySelector('output').textContent=m[k].dataset.value"
)


def _pixels(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=FRAME_DPI)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def _webp(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", quality=quality, method=4)
    return buffer.getvalue()


def encode(picture: Image.Image, budget: int = FRAME_BYTES) -> bytes:
    """WebP bytes within `budget`: the best quality that fits, then a smaller picture."""
    levels = range(90, 20, -10)
    for scale in (1.0, 0.8, 0.6, 0.45, 0.33):
        size = tuple(round(scale * side) for side in picture.size)
        small = picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS)
        webp = cache(partial(_webp, small))
        if len(webp(levels[-1])) <= budget:  # bytes fall with the quality: bisect
            return webp(levels[bisect_left(levels, True,
                                           key=lambda q: len(webp(q)) <= budget)])
    raise ValueError(
        f"a frame needs {len(webp(levels[-1]))} bytes at the lowest quality, over the "
        f"budget of {budget}: draw fewer or smaller panels"
    )


def narrowest(figure: Figure) -> float:
    """Width of the narrowest drawn picture, as a share of the figure's (1 without any)."""
    figure.draw_without_rendering()
    return min([ax.get_position().width for ax in figure.axes if ax.images], default=1.0)


class Flipbook:
    """See `flipbook`."""

    def __init__(self, draw: Callable[[Any], Figure], values: Sequence[Any], label: str,
                 alt: Callable[[Any], str], show: Callable[[Any], str], start: int,
                 live: Sequence[Any], kind: str, switches: Sequence[str]) -> None:
        self.draw, self.values, self.label = draw, list(values), label
        self.alt, self.show, self.start, self.live = alt, show, start, list(live)
        self.kind, self.switches = kind, list(switches)
        self._html: str | None = None

    def html(self) -> str:
        """The control as one self-contained HTML element (computed once)."""
        if self._html is None:
            self._html = self._render()
        return self._html

    def _render(self) -> str:
        frames, panel = [], 1.0
        budget = min(FRAME_BYTES, ALL_BYTES // len(self.values))
        for number, value in enumerate(self.values):
            figure = self.draw(value)
            panel = min(panel, narrowest(figure))
            picture = _pixels(figure)
            data = base64.b64encode(encode(picture, budget)).decode()
            frames.append(
                f'<img alt="{escape(self.alt(value), quote=True)}" '
                f'data-value="{escape(self.show(value), quote=True)}" '
                f'width="{picture.width}" height="{picture.height}" '
                f'{"" if number == self.start else "hidden "}'
                f'src="data:image/webp;base64,{data}">'
            )
        label = escape(self.label, quote=True)
        return (
            f'<figure class="flipbook" role="group" aria-label="{label}" '
            f'data-panel="{panel:.3f}">'
            f'<div class="flipbook-frames">{"".join(frames)}</div>{self._inputs(label)}'
            f'<output aria-live="polite">{escape(self.show(self.values[self.start]))}'
            f'</output></figure>'
        )

    def _inputs(self, label: str) -> str:
        """The native inputs; their group has a name made of what it shows."""
        shown = escape(self.show(self.values[self.start]), quote=True)
        if self.kind == "slider":
            return (
                f'<label><span>{label}</span> <input type="range" min="0" '
                f'max="{len(self.values) - 1}" step="1" value="{self.start}" '
                f'autocomplete="off" aria-valuetext="{shown}" oninput="{ON_INPUT}"></label> ')
        names = self.switches or [self.show(value) for value in self.values]
        on = ([bool(self.start >> bit & 1) for bit in range(len(names))] if self.switches
              else [number == self.start for number in range(len(names))])
        group = hashlib.sha256("|".join([self.label, *names]).encode()).hexdigest()[:8]
        kind = "checkbox" if self.switches else f'radio" name="flipbook-{group}'
        inputs = "".join(
            f'<label><input type="{kind}" autocomplete="off"{" checked" * checked} '
            f'oninput="{ON_INPUT}"> <span>{escape(name)}</span></label>'
            for name, checked in zip(names, on))
        return f"<fieldset><legend>{label}</legend>{inputs}</fieldset>"

    def widget(self) -> Any:
        """The ipywidgets control: draws a position when it is first asked for."""
        import ipywidgets as widgets  # only a live kernel needs it

        pictures: dict[int, bytes] = {}
        picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        words = widgets.HTML()

        def update(place: int) -> None:
            if place not in pictures:
                buffer = io.BytesIO()
                _pixels(self.draw(self.live[place])).save(buffer, format="png")
                pictures[place] = buffer.getvalue()
            picture.value = pictures[place]
            words.value = f"<small>{escape(self.alt(self.live[place]))}</small>"

        first = min(range(len(self.live)),
                    key=lambda i: self.live[i] != self.values[self.start])
        if self.switches:
            boxes = [widgets.Checkbox(value=bool(first >> bit & 1), description=name,
                                      indent=False) for bit, name in enumerate(self.switches)]
            for box in boxes:
                box.observe(lambda change: update(
                    sum(b.value << bit for bit, b in enumerate(boxes))), names="value")
            control = widgets.HBox([widgets.Label(self.label), *boxes])
        else:
            make = widgets.SelectionSlider if self.kind == "slider" else widgets.ToggleButtons
            lasting = {"continuous_update": False} if self.kind == "slider" else {}
            control = make(
                options=[(self.show(v), i) for i, v in enumerate(self.live)], value=first,
                description=self.label, layout=widgets.Layout(width="95%"),
                style={"description_width": "initial"}, **lasting)
            control.observe(lambda change: update(control.value), names="value")
        update(first)
        return widgets.VBox([picture, control, words])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        bundle: dict[str, Any] = {
            "text/plain": f"<{self.label}: {len(self.values)} frames>",
            "text/html": self.html(),
        }
        if not runtime.is_static():
            view = {"version_major": 2, "version_minor": 0,
                    "model_id": self.widget().model_id}
            bundle["application/vnd.jupyter.widget-view+json"] = view
        return bundle


def flipbook(draw: Callable[[Any], Figure], values: Sequence[Any], *, label: str,
             alt: Callable[[Any], str], show: Callable[[Any], str] = str,
             start: int = 0, live: Sequence[Any] | None = None, kind: str = "slider",
             switches: Sequence[str] = ()) -> Flipbook:
    """A control over `values`; `draw(value)` makes the Figure of one position.

    values: 2 to 16 positions, drawn beforehand for the rendered book, 300 KB in all.
    label: what the control sets, in a few words.
    alt: the alternative text of a position, at least 8 characters.
    show: how a value is written beside the control.
    start: index of the position shown first.
    live: finer positions of a slider for a live kernel (default: `values`); must hold the
        start.
    kind: "slider" for ordered values, "buttons" to choose one of unordered ones, or
        "switches", each on or off: then `switches` names n of them and `values` are the
        2**n combinations, number k having switch j on where bit j of k is set.
    """
    if not 2 <= len(values) <= MOST_FRAMES:
        raise ValueError(f"a flipbook has 2 to {MOST_FRAMES} frames, not {len(values)}")
    if not 0 <= start < len(values):
        raise ValueError(f"start must be 0..{len(values) - 1}, not {start}")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
    if (kind == "switches") != bool(switches) or switches and 2**len(switches) != len(values):
        raise ValueError(f"kind 'switches' needs the names of n switches and 2**n values, "
                         f"not {len(switches)} names, {len(values)} values, kind {kind!r}")
    short = [value for value in values if len(alt(value)) < 8]
    if short:
        raise ValueError(f"alternative text under 8 characters for {short}")
    return Flipbook(draw, values, label, alt, show, start, values if live is None else live,
                    kind, switches)
