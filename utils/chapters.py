"""The notebooks themselves: where they are, and how they last ran."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        import nbformat  # three seconds on a slow core, which no chapter's run needs

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


def last_runs() -> dict[str, dict[str, float]]:
    """Seconds and peak memory of every notebook's last stored run, by slug."""
    file = root() / RUNS
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else {}
