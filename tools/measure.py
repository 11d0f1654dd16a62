"""Measure a chapter's claim over seeds and store the rows: `make evidence`.

Command line: `python tools/measure.py SLUG [--seeds 5] [--source NAME]`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nbclient.exceptions import CellExecutionError

import run
import tagged
from execution import Run, execute, fail, side_by_side, write_together
from utils import chapters, evidence


def missing(slug: str, seeds: int, source: str) -> list[int]:
    """The seeds below `seeds` without a row of the chapter's present code."""
    stored, code = evidence.load(slug) or {"rows": []}, tagged.code_hash(slug)
    there = {r["seed"] for r in stored["rows"]
             if r["source"] == source and r["code"] == code}
    return [seed for seed in range(seeds) if seed not in there]


def measure(slug: str, seed: int, source: str) -> Run:
    """Run the notebook for one row: whole where it is the page's own, else to the claim."""
    page = tagged.parameters(slug)
    given = {"seed": seed, "source": source}
    return execute(slug, None if given.items() <= page.items() else given)


def collect(slug: str, seeds: int, source: str | None) -> Path:
    """Measure seeds 0..seeds-1 of one source; each row is stored as soon as it is there.

    Rows of the chapter's present code are kept, so that a run that was broken off goes on
    where it stopped. The page's own seed renews the page with its row.
    """
    page = tagged.parameters(slug)
    source = source or page["source"]
    todo = missing(slug, seeds, source)
    expected = [run.usual_seconds(slug)] * len(todo)
    jobs = [(slug, seed, source) for seed in todo]
    for number, ran in side_by_side(measure, jobs, expected):
        seed = todo[number]
        row = run.row_of(ran, seed, source)
        if {"seed": seed, "source": source}.items() <= page.items():
            run.store(ran, tell=False)
        else:
            stored = run.with_row(slug, ran, row)
            write_together({evidence.path(slug): run.as_json(stored)})
        print(f"{slug} seed {seed} {source}: baseline {row['baseline']:.4f}, "
              f"method {row['method']:.4f} ({row['seconds']:.0f} s)", flush=True)
    return evidence.path(slug)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tools/measure.py")
    parser.add_argument("chapter")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--source", default=None, help="data set (default: generated)")
    options = parser.parse_args(arguments)
    if options.chapter not in chapters.find():
        return fail(f"no chapter {options.chapter!r}; the book has: "
                    f"{', '.join(chapters.find())}")
    if options.seeds < 2:
        return fail("an interval needs --seeds of 2 or more")
    try:
        file = collect(options.chapter, options.seeds, options.source)
        print(f"{options.seeds} rows in {file.relative_to(chapters.root())}")
        run.retell(options.chapter)
    except (CellExecutionError, RuntimeError) as problem:
        print(problem, file=sys.stderr)
        return 1
    except ValueError as problem:
        print(f"{options.chapter}: {problem}", file=sys.stderr)
        return 1
    print(repr(evidence.show(options.chapter)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
