"""A chapter's claim, measured over seeds: stored, summarised, said.

The `claim` cell of a chapter returns a Record. `make run` and `make evidence` execute that
very notebook and store one row a run in `book/evidence/`. Rows are never edited by hand;
each carries the hash of the code that it was measured with, the environment of its kernel
and the seconds of processor time up to the claim. What a page says of its rows comes from
`verdict`, `says` and `show`.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from utils import chapters

KEY = "book_evidence"  # where a record travels: in the metadata of its output
MOST_ROWS = 5  # comparisons in one table
FEW_ITEMS = 30  # fewer pictures than this are named in the verdict
CLAIM = "claim"  # the name of the record's own two arms among the comparisons
VERDICTS = ("better", "worse", "no difference shown")


@dataclass(frozen=True)
class Record:
    """What one run of a chapter says about its claim.

    better: "higher" or "lower". `parameters` counts the weights of the arms; `more` holds
    further numbers by name, such as the other arms; `items` is the number of test pictures
    (or films) scored. `comparisons` names what `verdict`, `says` and `show` may compare:
    name -> (method arm, baseline arm), or with a measure and a direction of its own
    (method arm, baseline arm, metric, "higher" or "lower").
    """

    metric: str
    better: str
    baseline: float
    method: float
    baseline_name: str
    method_name: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, float] = field(default_factory=dict)
    items: int | None = None
    comparisons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in (self.baseline, self.method, *self.more.values()):
            if not math.isfinite(value):
                raise ValueError(f"a record needs finite numbers: {self}")
        for name, arms in {CLAIM: (self.method_name, self.baseline_name, self.metric,
                                   self.better), **self.comparisons}.items():
            if len(arms) not in (2, 4) or arms[3:] not in ((), ("higher",), ("lower",)):
                raise ValueError(
                    f"comparison {name!r} must be (method, baseline) or (method, baseline, "
                    f"metric, 'higher' or 'lower'), not {arms!r}")

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        from utils import runtime  # torch: the pages are built without it

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
                {KEY: asdict(self) | {"environment": runtime.environment(),
                                      "seconds": round(time.process_time(), 1)}})


def path(slug: str) -> Path:
    return chapters.root() / "book" / "evidence" / f"{slug}.json"


def load(slug: str) -> dict[str, Any] | None:
    """The stored evidence of a chapter, or None where nothing was measured yet."""
    file = path(slug)
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else None


def is_measuring() -> bool:
    """True while the tools run a notebook whose rows they are about to renew."""
    return os.environ.get("BOOK_MEASURING") == "1"


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


def rows_of(stored: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """The rows of one data source; a ValueError that lists the sources without any."""
    rows = [row for row in stored["rows"] if row["source"] == source]
    if not rows:
        raise ValueError(
            f"no rows measured on {source!r}; there are rows on {sources(stored)}")
    return rows


def summarise(stored: Mapping[str, Any], source: str, method: str | None = None,
              baseline: str | None = None, better: str | None = None) -> Summary:
    """Summary of the rows of one data source; a ValueError where there are none.

    Compares the record's two arms, or any two arms given by name.
    """
    from scipy import stats

    rows = rows_of(stored, source)
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
                   1 if (better or stored["better"]) == "higher" else -1)


def sources(stored: Mapping[str, Any]) -> list[str]:
    """Data sources with rows, in the order in which they were first measured."""
    return list(dict.fromkeys(row["source"] for row in stored["rows"]))


def comparisons(stored: Mapping[str, Any]) -> dict[str, tuple[str, str, str, str]]:
    """Every comparison by name: method arm, baseline arm, metric, better; the claim first."""
    own = stored["metric"], stored["better"]
    found = {CLAIM: (stored["method_name"], stored["baseline_name"], *own)}
    for name, arms in stored.get("comparisons", {}).items():
        found[name] = (*arms, *own)[:4] if len(arms) == 2 else tuple(arms)
    return found


def _asked(stored: Mapping[str, Any], name: str) -> tuple[str, str, str, str]:
    known = comparisons(stored)
    if name not in known:
        raise ValueError(f"no comparison {name!r}; the claim cell names {list(known)}")
    return known[name]


def _has(stored: Mapping[str, Any], source: str, *arms: str) -> bool:
    """Whether the rows of a source have these arms (on real data one may be missing)."""
    first = rows_of(stored, source)[0]
    return set(arms) <= {stored["method_name"], stored["baseline_name"], *first["more"]}


class Sentence(str):
    """A sentence that a notebook shows as text, not as a quoted string."""

    def _repr_html_(self) -> str:
        return f"<p class='verdict'>{escape(self)}</p>"

    def __repr__(self) -> str:
        return str(self)


def verdict(slug: str, comparison: str = CLAIM, source: str | None = None) -> Sentence:
    """What the stored rows say of one comparison, one definite sentence a data source.

    `comparison` is a name that the claim cell gives, or "claim" for its own two arms;
    `source` limits it to one data source. ValueError for an unknown name.
    """
    stored = load(slug)
    if stored is None or (is_measuring() and comparison not in comparisons(stored)):
        return Sentence("Not measured yet: make evidence.")
    method, baseline, metric, better = _asked(stored, comparison)
    said = []
    for where in [source] if source else sources(stored):
        if not _has(stored, where, method, baseline):
            continue
        s = summarise(stored, where, method, baseline, better)
        items = rows_of(stored, where)[0].get("items")
        few = items is not None and items < FEW_ITEMS and where != sources(stored)[0]
        place = f"On these {items} pictures ({where})" if few else f"On {where}"
        measure = f"{metric} (lower is better)" if better == "lower" else metric
        known = (f"{s.difference:+.3f}, one seed, no interval" if s.seeds == 1 else
                 f"{s.difference:+.3f} ({s.low:+.3f} to {s.high:+.3f}, {s.seeds} seeds)")
        ends = {"better": f"{method} is better", "worse": f"{method} is worse"}
        said.append(
            f"{place}, {measure}: {method} {s.method:.3f}, {baseline} {s.baseline:.3f}; "
            f"difference {known}: {ends.get(s.verdict, s.verdict)}.")
    if not said:
        raise ValueError(f"no source of {slug} has both {method!r} and {baseline!r}")
    return Sentence(" ".join(said))


def says(slug: str, source: str | None = None, **expected: str) -> None:
    """Hold the words of the prose against the stored rows.

    `says("dss", fused="no difference shown", side_1="better")` is silent while the rows of
    `source` (the first one measured, if not given) say so, and raises a ValueError with
    the row when they part. The names are those of the claim cell's comparisons.
    """
    unknown = {word for word in expected.values() if word not in VERDICTS}
    if unknown or not expected:
        raise ValueError(f"says(...) takes name=verdict with one of {VERDICTS}, "
                         f"not {sorted(unknown) or 'nothing'}")
    stored = load(slug)
    if is_measuring():
        return  # the rows are about to be renewed; the tools ask again afterwards
    if stored is None:
        raise ValueError(f"nothing measured for {slug}: run `make evidence CHAPTER={slug}`")
    for name, word in expected.items():
        method, baseline, _, better = _asked(stored, name)
        where = source or sources(stored)[0]
        found = summarise(stored, where, method, baseline, better).verdict
        if found != word:
            raise ValueError(f"the prose says {word!r} of {name!r}, the rows say "
                             f"{found!r}: {verdict(slug, name, where)}")


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


def show(slug: str, *names: str) -> Table:
    """The stored result of a chapter: one row for each comparison and data source.

    Without names, the claim and the next comparisons of the claim cell; five at most.
    A source whose rows lack one of the arms has no row in that comparison, and a
    comparison by another measure than the claim's names it.
    """
    stored = load(slug)
    head = ["comparison", "data", "seeds", "baseline", "method", "difference",
            "95 % interval", "reads"]
    if len(names) > MOST_ROWS:
        raise ValueError(f"a table has at most {MOST_ROWS} comparisons, not {len(names)}: "
                         "choose those that the text discusses, fold the others")
    if stored is None:
        return Table("Nothing measured yet: run `make evidence`", head, [])
    rows, known = [], comparisons(stored)
    asked = names or list(known)[:MOST_ROWS]
    for name in asked:
        if is_measuring() and name not in known:
            continue
        method, baseline, metric, better = _asked(stored, name)
        label = name.replace("_", " ")
        if metric != stored["metric"]:
            label += f" ({metric}, {better} is better)"
        for source in sources(stored):
            if _has(stored, source, method, baseline):
                s = summarise(stored, source, method, baseline, better)
                rows.append([
                    label, source, str(s.seeds), f"{s.baseline:.3f}",
                    f"{s.method:.3f}", f"{s.difference:+.3f}",
                    f"{s.low:+.3f} to {s.high:+.3f}", s.verdict])
    caption = (f"{stored['metric']} ({stored['better']} is better) where a row names no "
               "other measure; paired by seed")
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
