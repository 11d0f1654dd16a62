"""A chapter's claim, measured over seeds: stored, summarised, shown.

The `claim` cell of a chapter returns a Record. `make evidence` (tools/measure.py) runs
that very notebook once for each seed and stores one row a run in `book/evidence/`. Rows
are never edited by hand; each carries the hash of the code that it was measured with, so
that stale evidence shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from utils import chapters

KEY = "book_evidence"  # where a record travels: in the metadata of its output


@dataclass(frozen=True)
class Record:
    """What one run of a chapter says about its claim.

    better: "higher" or "lower". `parameters` counts the weights of the two arms;
    `more` holds further numbers by name, such as the other arms.
    """

    metric: str
    better: str
    baseline: float
    method: float
    baseline_name: str
    method_name: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower"):
            raise ValueError(f"better must be 'higher' or 'lower', not {self.better!r}")
        for value in (self.baseline, self.method, *self.more.values()):
            if not math.isfinite(value):
                raise ValueError(f"a record needs finite numbers: {self}")

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        rows = {self.method_name: self.method, self.baseline_name: self.baseline}
        rows |= dict(self.more)
        cells = "".join(
            f"<tr><th scope='row'>{escape(name)}</th><td>{value:.3f}</td></tr>"
            for name, value in rows.items()
        )
        html = (f"<table class='record'><caption>{escape(self.metric)}, this run "
                f"({self.better} is better)</caption><tbody>{cells}</tbody></table>")
        plain = ", ".join(f"{name} {value:.3f}" for name, value in rows.items())
        return ({"text/html": html, "text/plain": f"{self.metric}: {plain}"},
                {KEY: asdict(self)})


def path(slug: str) -> Path:
    return chapters.root() / "book" / "evidence" / f"{slug}.json"


def load(slug: str) -> dict[str, Any] | None:
    """The stored evidence of a chapter, or None where nothing was measured yet."""
    file = path(slug)
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else None


@dataclass(frozen=True)
class Summary:
    """Paired difference method - baseline over seeds, with its 95 % t interval.

    `low` and `high` are NaN for a single seed. `gain` is the difference signed so that
    positive means that the method is better.
    """

    seeds: int
    baseline: float
    method: float
    difference: float
    low: float
    high: float
    sign: int

    @property
    def gain(self) -> tuple[float, float, float]:
        ends = sorted((self.sign * self.low, self.sign * self.high))
        return self.sign * self.difference, *ends

    @property
    def verdict(self) -> str:
        gain, low, high = self.gain
        if math.isnan(low):
            return "one seed: no interval"
        return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def value(stored: Mapping[str, Any], row: Mapping[str, Any], name: str) -> float:
    """One number of a row by the name of its arm; a ValueError lists the names."""
    known = {stored["method_name"]: row["method"], stored["baseline_name"]: row["baseline"]}
    known |= row["more"]
    if name not in known:
        raise ValueError(f"no arm {name!r} in the evidence; it has {sorted(known)}")
    return known[name]


def summarise(stored: Mapping[str, Any], source: str, method: str | None = None,
              baseline: str | None = None) -> Summary:
    """Summary of the rows of one data source; a ValueError where there are none.

    Compares the record's two arms, or any two arms given by name.
    """
    from scipy import stats

    rows = [row for row in stored["rows"] if row["source"] == source]
    if not rows:
        raise ValueError(
            f"no rows measured on {source!r}; there are rows on {sources(stored)}"
        )
    first, second = (
        np.array([value(stored, row, name) for row in rows])
        for name in (method or stored["method_name"], baseline or stored["baseline_name"])
    )
    paired = first - second
    half = math.nan
    if len(rows) > 1:
        half = stats.t.ppf(0.975, len(rows) - 1) * paired.std(ddof=1) / math.sqrt(len(rows))
    mean = float(paired.mean())
    return Summary(len(rows), float(second.mean()), float(first.mean()), mean,
                   float(mean - half), float(mean + half),
                   1 if stored["better"] == "higher" else -1)


def sources(stored: Mapping[str, Any]) -> list[str]:
    """Data sources with rows, in the order in which they were first measured."""
    return list(dict.fromkeys(row["source"] for row in stored["rows"]))


class Table:
    """An HTML table with a plain-text twin."""

    def __init__(self, caption: str, head: list[str], rows: list[list[str]]) -> None:
        self.caption, self.head, self.rows = caption, head, rows

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in self.head)
        body = "".join(
            "<tr>" + f"<th scope='row'>{escape(row[0])}</th>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
            for row in self.rows
        )
        return (f"<table class='evidence'><caption>{escape(self.caption)}</caption>"
                f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def __repr__(self) -> str:
        lines = [self.caption, " | ".join(self.head)]
        return "\n".join(lines + [" | ".join(row) for row in self.rows])


def show(slug: str, also: Mapping[str, tuple[str, str]] | None = None) -> Table:
    """The stored result of a chapter, one row for each comparison and data source.

    `also` adds comparisons: a name -> (method arm, baseline arm). A source whose rows lack
    one of the arms is left out of that comparison.
    """
    stored = load(slug)
    head = ["comparison", "data", "seeds", "baseline", "method", "difference",
            "95 % interval", "reads"]
    if stored is None:
        return Table("Nothing measured yet: run `make evidence`", head, [])
    rows = []
    known = {stored["method_name"], stored["baseline_name"], None}
    for name, arms in {"the claim": (None, None), **(also or {})}.items():
        for source in sources(stored):
            first = next(r for r in stored["rows"] if r["source"] == source)
            if not set(arms) <= known | set(first["more"]):
                continue  # that source has no such arm
            s = summarise(stored, source, *arms)
            rows.append([
                name, source, str(s.seeds), f"{s.baseline:.3f}", f"{s.method:.3f}",
                f"{s.difference:+.3f}", f"{s.low:+.3f} to {s.high:+.3f}", s.verdict])
    caption = (f"{stored['metric']} ({stored['better']} is better): "
               f"{stored['method_name']} against {stored['baseline_name']}, paired by seed")
    return Table(caption, head, rows)


def show_arms(slug: str) -> Table:
    """Mean and standard deviation over seeds of every number that the claim records.

    A dash stands where a data source has no such number.
    """
    stored = load(slug)
    if stored is None:
        return Table("Nothing measured yet: run `make evidence`", ["arm"], [])
    more = dict.fromkeys(name for row in stored["rows"] for name in row["more"])
    rows = []
    for name in (stored["method_name"], stored["baseline_name"], *more):
        row = [name]
        for source in sources(stored):
            values = [value(stored, r, name) for r in stored["rows"]
                      if r["source"] == source and (name not in more or name in r["more"])]
            row.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
                       if len(values) > 1 else "-")
        rows.append(row)
    return Table(f"{stored['metric']}: mean ± standard deviation over the stored seeds",
                 ["arm", *sources(stored)], rows)


def card(slug: str, *, paper_parameters: int | str) -> Table:
    """The measured half of a chapter's head: weights and seconds, here and in the paper."""
    stored = load(slug)
    run = chapters.last_runs().get(slug)
    weights = stored["rows"][0]["parameters"] if stored else {}
    paper = f"{paper_parameters:,}" if isinstance(paper_parameters, int) else paper_parameters
    return Table("This chapter, as last run and stored", ["", ""], [
        ["parameters here", ", ".join(f"{n}: {v:,}" for n, v in weights.items()) or "-"],
        ["parameters in the paper", paper],
        ["seconds here", f"{run['seconds']:.0f} on 2 CPU cores" if run else "-"],
        ["peak memory", f"{run['peak_mb']:.0f} MB" if run else "-"],
    ])
