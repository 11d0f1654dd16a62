"""The book's one control: a slider over pictures, alive with and without a kernel.

In a stored notebook and in the rendered page it is plain HTML: a native range input
over frames drawn beforehand. It needs no kernel, no network and no widget library; the
arrow keys work, and every frame has its own alternative text. Under a live kernel the
same object shows an ipywidgets slider that draws each position when it is asked for.
"""

from __future__ import annotations

import base64
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

MOST_FRAMES = 12
FRAME_BYTES = 25_000
FRAME_DPI = 120

# The picture, the spoken value and the written value move together.
ON_INPUT = (
    "const f=this.closest('figure'),m=f.querySelectorAll('img'),k=+this.value;"
    "m.forEach((e,i)=>{e.hidden=i!==k});"
    "this.setAttribute('aria-valuetext',m[k].dataset.value);"
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


class Flipbook:
    """See `flipbook`."""

    def __init__(self, draw: Callable[[Any], Figure], values: Sequence[Any], label: str,
                 alt: Callable[[Any], str], show: Callable[[Any], str], start: int,
                 live: Sequence[Any]) -> None:
        self.draw, self.values, self.label = draw, list(values), label
        self.alt, self.show, self.start, self.live = alt, show, start, list(live)
        self._html: str | None = None

    def html(self) -> str:
        """The control as one self-contained HTML element (computed once)."""
        if self._html is None:
            self._html = self._render()
        return self._html

    def _render(self) -> str:
        frames = []
        for number, value in enumerate(self.values):
            picture = _pixels(self.draw(value))
            data = base64.b64encode(encode(picture)).decode()
            frames.append(
                f'<img alt="{escape(self.alt(value), quote=True)}" '
                f'data-value="{escape(self.show(value), quote=True)}" '
                f'width="{picture.width}" height="{picture.height}" '
                f'{"" if number == self.start else "hidden "}'
                f'src="data:image/webp;base64,{data}">'
            )
        shown = escape(self.show(self.values[self.start]), quote=True)
        label = escape(self.label, quote=True)
        return (
            f'<figure class="flipbook" role="group" aria-label="{label}">'
            f'<div class="flipbook-frames">{"".join(frames)}</div>'
            f'<label><span>{label}</span> <input type="range" min="0" '
            f'max="{len(self.values) - 1}" step="1" value="{self.start}" '
            f'autocomplete="off" aria-valuetext="{shown}" oninput="{ON_INPUT}"></label> '
            f'<output aria-live="polite">{shown}</output></figure>'
        )

    def widget(self) -> Any:
        """The ipywidgets control: draws a position when it is first asked for."""
        import ipywidgets as widgets  # only a live kernel needs it

        pictures: dict[int, bytes] = {}
        names = [self.show(value) for value in self.live]
        first = min(range(len(self.live)),
                    key=lambda i: self.live[i] != self.values[self.start])
        slider = widgets.SelectionSlider(
            options=[(name, i) for i, name in enumerate(names)], value=first,
            description=self.label, continuous_update=False,
            layout=widgets.Layout(width="95%"), style={"description_width": "initial"},
        )
        picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        words = widgets.HTML()

        def update(change: Any = None) -> None:
            place = slider.value
            if place not in pictures:
                buffer = io.BytesIO()
                _pixels(self.draw(self.live[place])).save(buffer, format="png")
                pictures[place] = buffer.getvalue()
            picture.value = pictures[place]
            words.value = f"<small>{escape(self.alt(self.live[place]))}</small>"

        slider.observe(update, names="value")
        update()
        return widgets.VBox([picture, slider, words])

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
             start: int = 0, live: Sequence[Any] | None = None) -> Flipbook:
    """A slider over `values`; `draw(value)` makes the Figure of one position.

    values: 2 to 12 positions, drawn beforehand for the rendered book.
    label: what the slider sets, in a few words.
    alt: the alternative text of a position, at least 8 characters.
    show: how a value is written beside the slider.
    start: index of the position shown first.
    live: finer positions for a live kernel (default: `values`); must hold the start.
    """
    if not 2 <= len(values) <= MOST_FRAMES:
        raise ValueError(f"a flipbook has 2 to {MOST_FRAMES} frames, not {len(values)}")
    if not 0 <= start < len(values):
        raise ValueError(f"start must be 0..{len(values) - 1}, not {start}")
    short = [value for value in values if len(alt(value)) < 8]
    if short:
        raise ValueError(f"alternative text under 8 characters for {short}")
    return Flipbook(draw, values, label, alt, show, start, values if live is None else live)
