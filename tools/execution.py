"""Running notebooks: one in a kernel of its own, several side by side, files together."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

import tagged
from utils import chapters, evidence

CELL_SECONDS = 1200  # no cell may take longer
# Appended to a run and dropped from the stored notebook: the kernel's peak memory, and its
# processor time, which says the same however busy the machine is otherwise.
LAST_CELL = """
import sys, time
try:
    import resource
    _peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _peak //= 1 if sys.platform == "linux" else 1024
except ImportError:  # Windows
    import psutil
    _peak = psutil.Process().memory_info().peak_wset // 1024
print(_peak, time.process_time())
"""


def write_together(texts: Mapping[Path, str]) -> None:
    """Write files so that all of them are the new ones or all the old, none a half.

    Everything is written beside its place first; only renaming is left then, and what
    was renamed is put back where a later one fails.
    """
    ready: dict[Path, str] = {}
    kept: dict[Path, str] = {}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            ready[path] = name
            with os.fdopen(handle, "w", encoding="utf8", newline="\n") as file:
                file.write(text)
            os.chmod(name, 0o644)
        for path, name in ready.items():
            if path.exists() and len(ready) > 1:
                kept[path] = shutil.copy2(path, f"{name}.old")
            os.replace(name, path)
    except BaseException:
        for path, old in kept.items():
            os.replace(old, path)
        raise
    finally:
        for name in (*ready.values(), *kept.values()):
            Path(name).unlink(missing_ok=True)


@dataclass
class Run:
    """What one execution of a notebook left: outputs, seconds, peak memory, record."""

    slug: str
    notebook: nbformat.NotebookNode
    seconds: float  # processor time of the kernel
    peak_mb: int
    record: dict[str, Any] | None
    code: str  # hash of the measured code that ran


def read_record(notebook: nbformat.NotebookNode) -> dict[str, Any] | None:
    """The one record in a notebook's outputs; None where no cell is tagged 'claim'."""
    if not any(tagged.has_tag(cell, "claim") for cell in notebook.cells):
        return None
    found = [output["metadata"][evidence.KEY]
             for cell in notebook.cells for output in cell.get("outputs", [])
             if evidence.KEY in output.get("metadata", {})]
    if len(found) != 1:
        raise ValueError(f"expected one evidence record, found {len(found)}: the cell "
                         "tagged 'claim' must end with evidence.Record(...)")
    return found[0]


def execute(slug: str, given: Mapping[str, Any] | None = None) -> Run:
    """Run a notebook in a new kernel; the stored one is left as it is.

    `given` replaces values of the parameters cell, and such a run ends at the claim:
    nothing that comes after it is measured. A failing cell raises nbclient's
    CellExecutionError; a notebook that is edited meanwhile raises RuntimeError.
    """
    chapter = chapters.get(slug)
    notebook = chapter.notebook
    stored = [cell.source for cell in notebook.cells]
    code = tagged.code_hash(slug) if is_chapter(slug) else ""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if given:
        notebook.cells = tagged.until_claim(notebook)
        at = next(i for i, c in enumerate(notebook.cells)
                  if tagged.has_tag(c, "parameters"))
        lines = "\n".join(f"{name} = {value!r}" for name, value in given.items())
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(lines))
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELL))
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(chapter.path.parent)}})
    client.execute(env={**os.environ, "BOOK_STATIC": "1", "BOOK_MEASURING": "1"})
    if [cell.source for cell in chapter.notebook.cells] != stored:
        raise RuntimeError(f"{chapter.path.name} was changed during the run: run it again")
    last = "".join(output.get("text", "") for output in notebook.cells.pop().outputs)
    peak, seconds = last.split()  # a slow kernel sends its line in several pieces
    return Run(slug, notebook, round(float(seconds), 1), round(int(peak) / 1024),
               read_record(notebook), code)


def is_chapter(slug: str) -> bool:
    return slug in chapters.find()


def workers() -> int:
    """Notebooks to run at once, each with one thread: BOOK_WORKERS, or two of two cores."""
    return int(os.environ.get("BOOK_WORKERS", min(2, os.cpu_count() or 1)))


def side_by_side(work: Callable[..., Run], jobs: Sequence[tuple],
                 expected: Sequence[float]) -> Iterator[tuple[int, Run]]:
    """Do `work(*job)` for all jobs, two at a time; yield (number of the job, its Run).

    `expected` seconds of each job make the estimate of the time left, printed after each.
    """
    begin, left, done = time.time(), sum(expected), 0.0
    # fork would copy the parent's threads, and Windows cannot
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers(), mp_context=context) as pool:
        futures = {pool.submit(work, *job): i for i, job in enumerate(jobs)}
        try:
            for count, future in enumerate(as_completed(futures), 1):
                number = futures[future]
                yield number, future.result()
                done += expected[number]
                rest = (time.time() - begin) * (left - done) / max(done, 1e-9)
                if count < len(jobs):
                    print(f"  {count} of {len(jobs)} done, about "
                          f"{max(1, round(rest / 60))} min left", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def fail(text: object) -> int:
    """Say on the error stream what went wrong; the exit status of a bad request."""
    print(text, file=sys.stderr)
    return 2
