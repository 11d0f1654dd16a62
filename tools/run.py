"""Execute notebooks from top to bottom and store their outputs: `make run`.

Command line: `python tools/run.py [SLUG ...]`, all notebooks without one; `--list`
names them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from utils import chapters

# Appended to a run and dropped from the stored notebook: the kernel's peak memory.
PEAK_CELL = """
import resource, sys
_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(_peak // (1 if sys.platform == "linux" else 1024))
"""


def write_atomically(path: Path, text: str) -> None:
    """Write text so that a reader sees the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def shrink_png(data: str) -> str:
    """Base64 PNG -> the same picture in 256 colours, where that is smaller."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(b64decode(data))).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, format="png", optimize=True
    )
    small = b64encode(buffer.getvalue()).decode()
    return small if len(small) < len(data) else data


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run and shrink the pictures."""
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        **{key: value for key, value in notebook.metadata.items() if key == "book"},
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = shrink_png(data["image/png"])


def run(slug: str) -> dict[str, float]:
    """Execute a chapter from top to bottom and store its outputs, atomically.

    Returns seconds (first to last cell) and peak memory in MB. A failing cell raises
    and leaves the stored notebook as it was.
    """
    chapter = chapters.get(slug)
    notebook = chapter.notebook
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK_CELL))
    spent: dict[int, float] = {}
    began: dict[int, float] = {}
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(chapter.path.parent)}},
        on_cell_execute=lambda cell, cell_index: began.update({cell_index: time.time()}),
        on_cell_executed=lambda cell, cell_index, execute_reply: spent.update(
            {cell_index: time.time() - began[cell_index]}
        ),
    )
    client.execute(env={**os.environ, "BOOK_STATIC": "1"})
    peak = int(notebook.cells.pop().outputs[0]["text"]) / 1024
    spent.pop(len(notebook.cells), None)
    tidy(notebook)
    write_atomically(chapter.path, nbformat.writes(notebook) + "\n")
    return {"seconds": round(sum(spent.values()), 1), "peak_mb": round(peak)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tools/run.py")
    parser.add_argument("slugs", nargs="*", help="notebooks (default: all)")
    parser.add_argument("--list", action="store_true", help="only name them")
    options = parser.parse_args(arguments)
    try:
        wanted = ([chapters.get(slug) for slug in options.slugs]
                  or list(chapters.notebooks().values()))
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{chapter.part}/{chapter.slug}" for chapter in wanted))
        return 0
    for number, chapter in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {chapter.slug} ...", end=" ", flush=True)
        try:
            row = run(chapter.slug)
        except CellExecutionError as problem:
            print(f"\n{problem}\n{chapter.slug} failed; the stored notebook is unchanged",
                  file=sys.stderr)
            return 1
        print(f"{row['seconds']:.1f} s, peak {row['peak_mb']:.0f} MB", flush=True)
        runs = chapters.last_runs() | {chapter.slug: row}
        write_atomically(chapters.root() / chapters.RUNS,
                                  json.dumps(runs, indent=1) + "\n")
    print(f"{len(wanted)} notebooks run and stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
