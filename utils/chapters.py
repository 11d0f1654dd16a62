"""The notebooks themselves: find them, read their tagged cells, run and store them.

Command line: `python -m utils.chapters run [SLUG ...]`.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import json
import os
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

RUNS = "book/evidence/runs.json"
# Appended to a run and dropped from the stored notebook: the kernel's peak memory.
PEAK_CELL = """
import resource, sys
_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(_peak // (1 if sys.platform == "linux" else 1024))
"""


@cache
def root() -> Path:
    """The folder that holds `_toc.yml`: above the notebook, or above this package."""
    for folder in [Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]]:
        if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
            return folder
    raise FileNotFoundError(
        "no _toc.yml beside a book folder above the working directory: run this inside "
        "a clone of the book"
    )


@dataclass(frozen=True)
class Chapter:
    """One notebook: its slug (file name), part (folder) and path."""

    slug: str
    part: str
    path: Path

    @property
    def notebook(self) -> nbformat.NotebookNode:
        return nbformat.read(self.path, as_version=4)

    @property
    def title(self) -> str:
        first = self.notebook.cells[0].source.splitlines()[0]
        return first.lstrip("# ").strip()


def notebooks() -> dict[str, Chapter]:
    """Every notebook of the table of contents in its order, by file name."""
    import yaml

    parts = yaml.safe_load((root() / "_toc.yml").read_text(encoding="utf8"))["parts"]
    files = [entry["file"] for part in parts for entry in part["chapters"]]
    paths = [(root() / file).with_suffix(".ipynb") for file in files]
    return {p.stem: Chapter(p.stem, p.parent.name, p) for p in paths if p.is_file()}


def find() -> dict[str, Chapter]:
    """The chapters: notebooks that lie in the folder of a part."""
    return {slug: c for slug, c in notebooks().items() if c.part != "book"}


def get(slug: str) -> Chapter:
    """The notebook of that name, or a ValueError that lists the known ones."""
    known = notebooks()
    if slug not in known:
        raise ValueError(f"no chapter {slug!r}; the book has: {', '.join(known)}")
    return known[slug]


def has_tag(cell: Any, *tags: str) -> bool:
    return bool(set(tags) & set(cell.metadata.get("tags", [])))


def code(slug: str, *tags: str) -> str:
    """The source of a chapter's code cells that carry one of `tags`, in order."""
    cells = get(slug).notebook.cells
    return "\n\n".join(
        cell.source for cell in cells if cell.cell_type == "code" and has_tag(cell, *tags)
    )


def namespace(slug: str, **parameters: Any) -> dict[str, Any]:
    """Execute the cells tagged setup, parameters and model; return what they define.

    Tests use it, so that what is tested is the code that the reader sees.
    """
    space: dict[str, Any] = {"__name__": slug}
    for tag in ("setup", "parameters", "model"):
        if tag == "model":
            space.update(parameters)
        exec(compile(code(slug, tag), f"{slug}:{tag}", "exec"), space)
    return space


def measured_cells(notebook: nbformat.NotebookNode) -> list[Any]:
    """The code cells that decide the numbers: up to the claim, without figures."""
    cells = []
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if cell.cell_type == "code" and not figure:
            cells.append(cell)
        if has_tag(cell, "claim"):
            return cells
    raise ValueError("the notebook has no cell tagged 'claim'")


def code_hash(slug: str) -> str:
    """Hash of the syntax trees of `measured_cells`: comments and layout do not count."""
    digest = hashlib.sha256()
    for cell in measured_cells(get(slug).notebook):
        digest.update(ast.dump(ast.parse(cell.source)).encode())
    return digest.hexdigest()[:16]


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
    from PIL import Image

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


def last_runs() -> dict[str, dict[str, float]]:
    """Seconds and peak memory of every notebook's last stored run, by slug."""
    file = root() / RUNS
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else {}


def run(slug: str) -> dict[str, float]:
    """Execute a chapter from top to bottom and store its outputs, atomically.

    Returns seconds (first to last cell) and peak memory in MB. A failing cell raises
    and leaves the stored notebook as it was.
    """
    chapter = get(slug)
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
    parser = argparse.ArgumentParser(prog="python -m utils.chapters")
    parser.add_argument("action", choices=["run", "list"])
    parser.add_argument("slugs", nargs="*", help="chapters (default: all)")
    options = parser.parse_args(arguments)
    try:
        wanted = [get(slug) for slug in options.slugs] or list(notebooks().values())
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    if options.action == "list":
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
        runs = last_runs() | {chapter.slug: row}
        write_atomically(root() / RUNS, json.dumps(runs, indent=1) + "\n")
    print(f"{len(wanted)} notebooks run and stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
