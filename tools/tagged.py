"""The tagged cells of a notebook: their code, executed for tests and hashed for evidence."""

from __future__ import annotations

import ast
import hashlib
from typing import Any

import nbformat

from utils import chapters


def has_tag(cell: Any, *tags: str) -> bool:
    return bool(set(tags) & set(cell.metadata.get("tags", [])))


def code(slug: str, *tags: str) -> str:
    """The source of a chapter's code cells that carry one of `tags`, in order."""
    found = chapters.get(slug).notebook.cells
    return "\n\n".join(
        cell.source for cell in found if cell.cell_type == "code" and has_tag(cell, *tags)
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
    for cell in measured_cells(chapters.get(slug).notebook):
        digest.update(ast.dump(ast.parse(cell.source)).encode())
    return digest.hexdigest()[:16]
