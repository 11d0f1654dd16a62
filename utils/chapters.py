"""The notebooks themselves: find them, read their tagged cells, hash their code."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

RUNS = "book/evidence/runs.json"


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


def last_runs() -> dict[str, dict[str, float]]:
    """Seconds and peak memory of every notebook's last stored run, by slug."""
    file = root() / RUNS
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else {}
