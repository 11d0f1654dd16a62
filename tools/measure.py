"""Measure a chapter's claim over seeds and store the rows: `make evidence`.

Command line: `python tools/measure.py SLUG [--seeds 5] [--source NAME]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import papermill

import tagged
from run import write_atomically
from utils import chapters, evidence, runtime


def read_record(notebook: Any) -> dict[str, Any]:
    """The one record in an executed notebook's outputs."""
    found = [
        output["metadata"][evidence.KEY]
        for cell in notebook.cells for output in cell.get("outputs", [])
        if evidence.KEY in output.get("metadata", {})
    ]
    if len(found) != 1:
        raise ValueError(f"expected one evidence record, found {len(found)}: the cell "
                         "tagged 'claim' must end with evidence.Record(...)")
    return found[0]


def measure(slug: str, seed: int, source: str | None) -> dict[str, Any]:
    """Run the chapter's notebook with that seed and source; return one row."""
    chapter, code = chapters.get(slug), tagged.code_hash(slug)
    given = {"seed": seed} | ({"source": source} if source else {})
    with tempfile.TemporaryDirectory() as folder:
        ran = papermill.execute_notebook(
            chapter.path, Path(folder) / "run.ipynb", parameters=given,
            cwd=chapter.path.parent, progress_bar=False, kernel_name="python3",
            execution_timeout=1200,
        )
    if tagged.code_hash(slug) != code:
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
    exec(tagged.code(slug, "parameters"), space)
    return space["source"]


def run(slug: str, seeds: int, source: str | None) -> Path:
    """Measure seeds 0..seeds-1 of one source; each row is stored as soon as it is there.

    A stored row is kept where its code is the chapter's present code, so that a run that
    was broken off goes on where it stopped; all others of that source are replaced.
    """
    own, code = default_source(slug), tagged.code_hash(slug)
    source = source or own
    os.environ["BOOK_STATIC"] = "1"  # nobody looks on: no progress bars, no widgets
    for seed in range(seeds):
        stored = evidence.load(slug) or {"rows": []}
        rows = [r for r in stored["rows"] if r["source"] != source or r["code"] == code]
        if any(r["source"] == source and r["seed"] == seed for r in rows):
            continue
        row = measure(slug, seed, source)
        record = row.pop("_record")
        rows = sorted([*rows, row], key=lambda r: (r["source"] != own, r["source"], r["seed"]))
        stored = {"chapter": slug, "rows": rows} | {
            key: record[key] for key in ("metric", "better", "baseline_name", "method_name")}
        write_atomically(evidence.path(slug), json.dumps(stored, indent=1) + "\n")
        print(f"{slug} seed {seed} {source}: baseline {row['baseline']:.4f}, "
              f"method {row['method']:.4f} ({row['seconds']:.0f} s)", flush=True)
    return evidence.path(slug)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tools/measure.py")
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
    print(repr(evidence.show(options.chapter)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
