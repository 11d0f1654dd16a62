"""A chapter's claim, measured over seeds: stored, summarised, drawn.

The `claim` cell of a chapter returns a Record. `python -m utils.evidence hed --seeds 5`
runs that very notebook once for each seed and stores one row a run in
`book/evidence/hed.json`. Rows are never edited by hand; each carries the hash of the
code that it was measured with, so that stale evidence shows (see `chapters.code_hash`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from utils import chapters, plots, runtime

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

    `also` adds comparisons: a name -> (method arm, baseline arm).
    """
    stored = load(slug)
    head = ["comparison", "data", "seeds", "baseline", "method", "difference",
            "95 % interval", "reads"]
    if stored is None:
        return Table("Nothing measured yet: run `make evidence`", head, [])
    rows = []
    for name, arms in {"the claim": (None, None), **(also or {})}.items():
        for source in sources(stored):
            s = summarise(stored, source, *arms)
            rows.append([
                name, source, str(s.seeds), f"{s.baseline:.3f}", f"{s.method:.3f}",
                f"{s.difference:+.3f}", f"{s.low:+.3f} to {s.high:+.3f}", s.verdict])
    caption = (f"{stored['metric']} ({stored['better']} is better): "
               f"{stored['method_name']} against {stored['baseline_name']}, paired by seed")
    return Table(caption, head, rows)


def show_arms(slug: str) -> Table:
    """Mean and standard deviation over seeds of every number that the claim records."""
    stored = load(slug)
    if stored is None:
        return Table("Nothing measured yet: run `make evidence`", ["arm"], [])
    rows = []
    for name in (stored["method_name"], stored["baseline_name"], *stored["rows"][0]["more"]):
        row = [name]
        for source in sources(stored):
            values = [value(stored, r, name) for r in stored["rows"] if r["source"] == source]
            row.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")
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


def forest() -> Figure:
    """Forest plot: the gain of every measured chapter relative to its baseline.

    One line for each chapter and data source: the paired gain in per cent of the mean
    baseline, with its 95 % interval, the seeds and the device. Positive is better.
    """
    lines = []
    for slug in chapters.find():
        stored = load(slug)
        for source in sources(stored) if stored else []:
            lines.append((slug, source, summarise(stored, source), stored))
    if not lines:
        raise ValueError("no evidence stored yet: run `make evidence CHAPTER=...`")
    fig, axes = plots.figure(height=0.9 + 0.52 * len(lines))
    ax = axes[0, 0]
    for at, (slug, source, s, stored) in enumerate(reversed(lines)):
        gain, low, high = (100 * v / abs(s.baseline) for v in s.gain)
        color = plots.COLORS["method" if s.verdict == "better" else
                             "baseline" if s.verdict == "worse" else "grey"]
        ax.plot([low, high], [at, at], color=color)
        ax.plot(gain, at, "o", color=color)
        device = next(r["device"] for r in stored["rows"] if r["source"] == source)
        ax.annotate(f"{s.difference:+.3f}, {s.seeds} seeds, {device}",
                    (gain, at), xytext=(0, 5), textcoords="offset points", ha="center",
                    fontsize=9)
    ax.axvline(0, color="#333333", lw=1)
    ax.set_yticks(range(len(lines)), [f"{a}\n({b})" for a, b, *_ in reversed(lines)])
    low, high = ax.get_xlim()
    ax.set_xscale("symlog", linthresh=10)  # a designed task dwarfs the others otherwise
    ticks = [t for t in (-200, -50, -10, -5, 0, 5, 10, 50, 200) if low - 5 <= t <= high + 50]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.set(xlim=(min(low, -12) * 1.2, max(high, 12) * 1.5), ylim=(-0.5, len(lines) - 0.3),
           xlabel="gain over the baseline (% of its mean)")
    return fig


def overview() -> Table:
    """Every stored claim as one table, one row for each chapter and data source."""
    rows = []
    for slug, chapter in chapters.find().items():
        stored = load(slug)
        for source in sources(stored) if stored else []:
            s = summarise(stored, source)
            rows.append([
                chapter.title, source, stored["metric"], f"{s.baseline:.3f}",
                f"{s.method:.3f}", f"{s.difference:+.3f} ({s.low:+.3f} to {s.high:+.3f})",
                str(s.seeds), s.verdict])
    return Table("All stored claims", ["chapter", "data", "measure", "baseline", "method",
                                       "difference (95 % interval)", "seeds", "reads"], rows)


def read_record(notebook: Any) -> dict[str, Any]:
    """The one record in an executed notebook's outputs."""
    found = [
        output["metadata"][KEY]
        for cell in notebook.cells for output in cell.get("outputs", [])
        if KEY in output.get("metadata", {})
    ]
    if len(found) != 1:
        raise ValueError(f"expected one evidence record, found {len(found)}: the cell "
                         "tagged 'claim' must end with evidence.Record(...)")
    return found[0]


def measure(slug: str, seed: int, source: str | None) -> dict[str, Any]:
    """Run the chapter's notebook with that seed and source; return one row."""
    import papermill

    chapter, code = chapters.get(slug), chapters.code_hash(slug)
    given = {"seed": seed} | ({"source": source} if source else {})
    with tempfile.TemporaryDirectory() as folder:
        ran = papermill.execute_notebook(
            chapter.path, Path(folder) / "run.ipynb", parameters=given,
            cwd=chapter.path.parent, progress_bar=False, kernel_name="python3",
            execution_timeout=1200,
        )
    if chapters.code_hash(slug) != code:
        raise RuntimeError(f"{chapter.path.name} was changed during the run: measure again")
    record = read_record(ran)
    seconds = sum(c.metadata.papermill.duration or 0 for c in ran.cells
                  if c.cell_type == "code")
    row = {"seed": seed, "source": source or default_source(slug)}
    row |= {key: record[key] for key in ("baseline", "method", "more", "parameters")}
    row |= {"seconds": round(seconds, 1), "code": code}
    return row | runtime.environment() | {"_record": record}


def default_source(slug: str) -> str:
    """The value of `source` in the chapter's parameters cell."""
    space: dict[str, Any] = {}
    exec(chapters.code(slug, "parameters"), space)
    return space["source"]


def run(slug: str, seeds: int, source: str | None) -> Path:
    """Measure seeds 0..seeds-1 of one source; each row is stored as soon as it is there.

    A stored row is kept where its code is the chapter's present code, so that a run that
    was broken off goes on where it stopped; all others of that source are replaced.
    """
    own, code = default_source(slug), chapters.code_hash(slug)
    source = source or own
    os.environ["BOOK_STATIC"] = "1"  # nobody looks on: no progress bars, no widgets
    for seed in range(seeds):
        stored = load(slug) or {"rows": []}
        rows = [r for r in stored["rows"] if r["source"] != source or r["code"] == code]
        if any(r["source"] == source and r["seed"] == seed for r in rows):
            continue
        row = measure(slug, seed, source)
        record = row.pop("_record")
        rows = sorted([*rows, row], key=lambda r: (r["source"] != own, r["source"], r["seed"]))
        stored = {"chapter": slug, "rows": rows} | {
            key: record[key] for key in ("metric", "better", "baseline_name", "method_name")}
        chapters.write_atomically(path(slug), json.dumps(stored, indent=1) + "\n")
        print(f"{slug} seed {seed} {source}: baseline {row['baseline']:.4f}, "
              f"method {row['method']:.4f} ({row['seconds']:.0f} s)", flush=True)
    return path(slug)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m utils.evidence")
    parser.add_argument("chapter")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--source", default=None, help="data set (default: generated)")
    options = parser.parse_args(arguments)
    try:
        chapters.get(options.chapter)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    if options.seeds < 2:
        print("an interval needs --seeds of 2 or more", file=sys.stderr)
        return 2
    file = run(options.chapter, options.seeds, options.source)
    print(f"{options.seeds} rows in {file.relative_to(chapters.root())}")
    print(repr(show(options.chapter)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
