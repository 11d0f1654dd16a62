"""Figures in one look. Functions take tensors or arrays and return the Figure.

A figure is 6 inches wide with type that stays legible when a phone shows it at 350
pixels. Colours are Okabe and Ito's, safe for colour-blind readers, and a colour keeps
its role through the book: see COLORS. Photographs are drawn as they are, magnitudes in
`viridis`, signed values in `RdBu_r` centred at zero, labels in LABELS; sides, stages and
levels have their own sequence, LEVELS.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

WIDTH = 6.0  # inches
COLORS = {
    "method": "#0072B2", "baseline": "#D55E00", "truth": "#009E73",
    "third": "#CC79A7", "fourth": "#E69F00", "fifth": "#56B4E9", "grey": "#6B6B6B",
}
LEVELS = ("#b58ad0", "#9762bd", "#783da3", "#572080", "#350c55")  # sides, fine to coarse
LABELS = ListedColormap(
    ["#1b1b1b", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00",
     "#CC79A7", "#999999"]
)  # 0 is dark, the background
STYLE = {
    "figure.dpi": 150, "savefig.dpi": 150, "figure.constrained_layout.use": True,
    "font.size": 11, "axes.titlesize": 11, "axes.labelsize": 11, "legend.fontsize": 10,
    "xtick.labelsize": 10, "ytick.labelsize": 10, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "lines.linewidth": 2,
    "image.interpolation": "nearest", "image.cmap": "viridis", "axes.grid": True,
    "grid.color": "#e4e4e4", "axes.axisbelow": True,
}


def use_style() -> None:
    """Switch matplotlib to the book's look; each chapter calls it once."""
    plt.rcParams.update(STYLE)


def figure(rows: int = 1, columns: int = 1, height: float = 3.0,
           **options: Any) -> tuple[Figure, np.ndarray]:
    """A Figure of the book's width and its axes as a (rows, columns) array.

    The figure is closed for pyplot, so that a notebook shows it once: when the cell
    returns it.
    """
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False,
                             **{"layout": "constrained"} | options)
    plt.close(fig)
    return fig, axes


class Hero:
    """A figure for the first screen: shown where it is made, and glued to the top.

    The page places it with `{glue:figure} SLUG-hero` (myst-nb finds it by the metadata of
    this output); the cell that ends in `Hero("SLUG", fig)` is tagged `remove-output`.
    """

    def __init__(self, slug: str, fig: Figure) -> None:
        self.slug, self.fig = slug, fig

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        buffer = io.BytesIO()
        self.fig.savefig(buffer, format="png")
        data = {"image/png": base64.b64encode(buffer.getvalue()).decode(),
                "text/plain": f"<the hero of {self.slug}>"}
        return data, {"scrapbook": {"name": f"{self.slug}-hero", "mime_prefix": ""}}


def to_array(image: Any) -> np.ndarray:
    """Tensor or array (C, H, W), (1, H, W) or (H, W) -> array (H, W, 3) or (H, W)."""
    array = image.detach().cpu().numpy() if torch.is_tensor(image) else np.asarray(image)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3):
        raise ValueError(f"a picture is (H, W), (1, H, W) or (3, H, W): {array.shape}")
    return array


def draw(ax: Axes, image: Any, kind: str = "auto", title: str = "",
         limit: float | None = None) -> Axes:
    """Draw one picture without ticks.

    kind: "photo" (0..1), "edges" (0..1, dark ink on white), "magnitude" (0..limit),
    "signed" (-limit..limit), "labels" (whole numbers; eight colours in turn, 0 is
    dark), or "auto": photo for three channels, labels for whole numbers, else magnitude.
    """
    array = to_array(image)
    if kind == "auto":
        whole = np.issubdtype(array.dtype, np.integer) or array.dtype == bool
        kind = "photo" if array.ndim == 3 else "labels" if whole else "magnitude"
    top = limit or float(np.abs(array).max()) or 1.0
    looks = {
        "photo": {"cmap": "gray", "vmin": 0, "vmax": 1},
        "edges": {"cmap": "gray_r", "vmin": 0, "vmax": 1},
        "magnitude": {"cmap": "viridis", "vmin": min(0.0, float(array.min())), "vmax": top},
        "signed": {"cmap": "RdBu_r", "vmin": -top, "vmax": top},
        "labels": {"cmap": LABELS, "vmin": 0, "vmax": LABELS.N - 1},
    }
    if kind not in looks:
        raise ValueError(f"kind must be one of {sorted(looks)} or 'auto', not {kind!r}")
    if kind == "labels":
        array = np.where(array > 0, (array.astype(int) - 1) % (LABELS.N - 1) + 1, 0)
    ax.imshow(np.clip(array, 0, 1) if kind == "photo" else array, **looks[kind])
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(kind == "edges")  # white paper needs a frame
    ax.spines[:].set(color="#b8b8b8", linewidth=0.8)
    if title:
        ax.set_title(title, pad=3)
    return ax


def image_grid(images: Sequence[Any], titles: Sequence[str] = (), *, columns: int = 4,
               kind: str | Sequence[str] = "auto", row_titles: Sequence[str] = (),
               limit: float | None = None) -> Figure:
    """Pictures in rows of `columns`; `kind` for all, for each column or for each one.

    `titles` may cover the first row only (column heads); `row_titles` stand at the left.
    Rows of edge maps are `image_grid(..., kind=["photo", "edges", "edges"])`.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    shape = to_array(images[0]).shape
    heads = -(-len(titles) // columns)
    height = WIDTH / columns * shape[0] / shape[1] * rows + 0.26 * heads + 0.04 * rows
    fig, axes = figure(rows, columns, height)
    kinds = [kind] if isinstance(kind, str) else list(kind)
    for index, ax in enumerate(axes.flat):
        if index >= len(images):
            ax.axis("off")
            continue
        title = titles[index] if index < len(titles) else ""
        draw(ax, images[index], kinds[index % len(kinds)], title, limit)
        if index % columns == 0 and index // columns < len(row_titles):
            ax.set_ylabel(row_titles[index // columns])
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    return fig


def telling_channels(features: torch.Tensor, count: int) -> list[int]:
    """Indices of up to `count` channels of one (C, h, w) map, most telling first.

    Channels are taken by falling spatial standard deviation, and one that repeats
    (correlation above 0.9) a channel already taken waits until the others are used up.
    """
    flat = features.detach().float().cpu().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    spread = flat.norm(dim=1)
    unit = flat / spread.clamp_min(1e-9)[:, None]
    taken: list[int] = []
    repeats: list[int] = []
    for channel in spread.argsort(descending=True).tolist():
        alike = taken and (unit[taken] @ unit[channel]).abs().max() > 0.9
        (repeats if alike else taken).append(channel)
    return (taken + repeats)[:count]


def feature_maps(features: torch.Tensor, count: int = 8, *, columns: int = 4,
                 title: str = "channel {}") -> Figure:
    """The most telling channels of one feature map (C, h, w), each on its own scale."""
    if features.ndim != 3:
        raise ValueError(f"expected one map (C, h, w), not {tuple(features.shape)}")
    chosen = telling_channels(features, count)
    titles = [title.format(channel) for channel in chosen]
    return image_grid([features[c] for c in chosen], titles, columns=columns,
                      kind="magnitude" if features.min() >= 0 else "signed")


def overlay(ax: Axes, image: Any, heat: Any, title: str = "",
            limits: tuple[float, float] | None = None) -> Axes:
    """An attention map (h, w) over the grey picture: dim where it is low."""
    grey = to_array(image)
    grey = grey.mean(-1) if grey.ndim == 3 else grey
    draw(ax, grey, "photo", title)
    warm = to_array(heat)
    low, high = limits or (warm.min(), warm.max())
    height, width = grey.shape
    ax.imshow(warm, cmap="magma", vmin=low, vmax=high, alpha=0.55,
              interpolation="bilinear", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    return ax


def boxes(ax: Axes, corners: Any, labels: Sequence[str] = (), role: str = "method",
          style: str = "-") -> Axes:
    """Frames of boxes (k, 4), x1 y1 x2 y2 with x2, y2 exclusive, over a drawn picture."""
    corners = torch.as_tensor(corners).detach().cpu().reshape(-1, 4).tolist()
    for number, (x1, y1, x2, y2) in enumerate(corners):
        ax.add_patch(plt.Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False,
                                   ec=COLORS[role], ls=style, lw=1.6))
        if number < len(labels):
            ax.text(x1, y1 - 1, labels[number], fontsize=9, color="white", va="bottom",
                    bbox={"facecolor": COLORS[role], "pad": 0.8, "lw": 0}, clip_on=True)
    return ax


def mask_over(ax: Axes, image: Any, mask: Any, title: str = "",
              role: str = "method") -> Axes:
    """A mask (h, w) over the picture, which stays visible: tinted, with an outline."""
    draw(ax, image, "photo", title)
    inside = to_array(mask) > 0
    tint = np.array([int(COLORS[role][i:i + 2], 16) / 255 for i in (1, 3, 5)])
    ax.imshow(np.dstack([np.broadcast_to(tint, (*inside.shape, 3)), 0.45 * inside]))
    if inside.any() and not inside.all():
        ax.contour(inside, levels=[0.5], colors=[COLORS[role]], linewidths=1.2)
    return ax


def palette(names: Iterable[str], roles: Mapping[str, str] | None) -> list[str]:
    """Each name's colour: that of its role, or else the next of the spare ones."""
    spare = cycle(["method", "baseline", "third", "fourth", "fifth", "grey", "truth"])
    return [COLORS[(roles or {}).get(name) or next(spare)] for name in names]


def curves(ax: Axes, series: Mapping[str, Any], *, x: Sequence[float] | None = None,
           roles: Mapping[str, str] | None = None, smooth: int = 1) -> Axes:
    """Lines with a seed band: each entry is (points,) or (seeds, points).

    The band spans the smallest to the largest seed about the mean; `roles` maps a name
    to a colour role; `smooth` averages that many neighbouring points, of which a line
    starts at the last; of a line too short for that, half of its points.
    """
    for (name, values), color in zip(series.items(), palette(series, roles)):
        lines = np.atleast_2d(np.asarray(values, dtype=float))
        points = lines.shape[1]
        window = smooth if smooth < points else max(1, points // 2)
        if window > 1:
            mean = np.ones(window) / window
            lines = np.stack([np.convolve(row, mean, "valid") for row in lines])
        at = (np.arange(points) + 1 if x is None else x)[window - 1:]
        ax.plot(at, lines.mean(0), color=color, label=name)
        if len(lines) > 1:
            ax.fill_between(at, lines.min(0), lines.max(0), color=color, alpha=0.2, lw=0)
    ax.legend()
    return ax


def loss_curves(series: Mapping[str, Any], *, smooth: int = 10, height: float = 2.8,
                roles: Mapping[str, str] | None = None, ylabel: str = "loss") -> Figure:
    """Training losses on a logarithmic axis, smoothed over `smooth` steps."""
    fig, axes = figure(height=height)
    ax = curves(axes[0, 0], series, roles=roles, smooth=smooth)
    ax.set(xlabel="step", ylabel=ylabel, yscale="log")
    return fig


def pr_curves(series: Mapping[str, Any], *, roles: Mapping[str, str] | None = None,
              height: float = 4.2) -> Figure:
    """Precision over recall of BoundaryCurves, a dot at each best F, grey iso-F lines."""
    fig, axes = figure(height=height)
    ax = axes[0, 0]
    recall = np.linspace(0.01, 1, 200)
    for level in (0.2, 0.4, 0.6, 0.8):
        iso = level * recall / np.clip(2 * recall - level, 1e-6, None)
        inside = (iso <= 1) & (2 * recall > level)
        ax.plot(recall[inside], iso[inside], color="#cfcfcf", lw=1)
        ax.annotate(f"F {level}", (1.0, level / (2 - level)), color="#767676", fontsize=9,
                    ha="right", va="bottom")
    for (name, curve), color in zip(series.items(), palette(series, roles)):
        used = np.asarray(curve.recall) > 0
        r, p, f = (np.asarray(v)[used] for v in (curve.recall, curve.precision, curve.f))
        if len(r) == 0:
            continue
        ax.plot(r, p, color=color, label=f"{name} ({curve.ods:.2f})")
        ax.plot(r[f.argmax()], p[f.argmax()], "o", color=color)
    ax.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision")
    ax.legend(title="best F (ODS)", loc="lower left")
    return fig


def bars(groups: Mapping[str, Any], *, errors: Mapping[str, Any] | None = None,
         roles: Mapping[str, str] | None = None, ylabel: str = "", height: float = 2.8,
         labels: bool = True) -> Figure:
    """One bar for each entry, with its number, and a whisker where `errors` has one."""
    fig, axes = figure(height=height)
    ax = axes[0, 0]
    for at, (name, color) in enumerate(zip(groups, palette(groups, roles))):
        value = groups[name]
        ax.bar(at, value, color=color, width=0.7, yerr=(errors or {}).get(name),
               capsize=4)
        if labels:
            ax.annotate(f"{value:.3g}", (at, value), ha="center", va="bottom",
                        xytext=(0, 2), textcoords="offset points", fontsize=10)
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set_ylabel(ylabel)
    ax.grid(axis="x", visible=False)
    return fig


def histogram(series: Mapping[str, Any], *, bins: int = 60, height: float = 2.8,
              roles: Mapping[str, str] | None = None, xlabel: str = "",
              limits: tuple[float, float] | None = None) -> Figure:
    """Histograms as outlines over common bins, each normalised to area 1."""
    fig, axes = figure(height=height)
    ax = axes[0, 0]
    flat = {name: np.ravel(torch.as_tensor(v).detach().cpu()) for name, v in series.items()}
    low, high = limits or (min(v.min() for v in flat.values()),
                           max(v.max() for v in flat.values()))
    for (name, values), color in zip(flat.items(), palette(flat, roles)):
        ax.hist(values, bins=bins, range=(low, high), density=True, histtype="stepfilled",
                facecolor=color + "30", edgecolor=color, lw=1.8, label=name)
    ax.set(xlabel=xlabel, ylabel="density")
    ax.legend()
    return fig
