"""The cells of a notebook by what they are for: run by tests, hashed, held to rules."""

from __future__ import annotations

import builtins
import symtable
from typing import Any

import nbformat

from canonical import digest
from utils import chapters


def has_tag(cell: Any, *tags: str) -> bool:
    return bool(set(tags) & set(cell.metadata.get("tags", [])))


def is_figure(cell: Any) -> bool:
    return bool(cell.metadata.get("mystnb", {}).get("figure"))


def code(slug: str, *tags: str) -> str:
    """The source of a chapter's code cells that carry one of `tags`, in order."""
    found = chapters.get(slug).notebook.cells
    return "\n\n".join(
        cell.source for cell in found if cell.cell_type == "code" and has_tag(cell, *tags)
    )


def parameters(slug: str) -> dict[str, Any]:
    """The values that the chapter's parameters cell sets."""
    space: dict[str, Any] = {}
    exec(code(slug, "parameters"), space)
    space.pop("__builtins__")
    return space


def namespace(slug: str, **given: Any) -> dict[str, Any]:
    """Execute the cells tagged setup, parameters and model; return what they define.

    Tests use it, so that what is tested is the code that the reader sees.
    """
    space: dict[str, Any] = {"__name__": slug}
    for tag in ("setup", "parameters", "model"):
        if tag == "model":
            space.update(given)
        exec(compile(code(slug, tag), f"{slug}:{tag}", "exec"), space)
    return space


def until_claim(notebook: nbformat.NotebookNode) -> list[Any]:
    """The cells up to the claim, that one included; ValueError where there is none."""
    for number, cell in enumerate(notebook.cells, 1):
        if has_tag(cell, "claim"):
            return notebook.cells[:number]
    raise ValueError("the notebook has no cell tagged 'claim'")


def measured_cells(notebook: nbformat.NotebookNode) -> list[Any]:
    """The code cells that decide the numbers: up to the claim, without figures and
    without those that only tell of the stored evidence."""
    return [c for c in until_claim(notebook)
            if c.cell_type == "code" and not is_figure(c) and not tells_evidence(c)]


def code_hash(slug: str) -> str:
    """Hash of `measured_cells`, the same on every version of Python."""
    return digest(cell.source for cell in measured_cells(chapters.get(slug).notebook))


def names(source: str) -> tuple[set[str], set[str]]:
    """The names that code binds at its top level, and the global names that it reads."""
    def reads(table: symtable.SymbolTable, top: bool) -> set[str]:
        own = {s.get_name() for s in table.get_symbols()
               if s.is_referenced() and (top or s.is_global())}
        return own.union(*(reads(child, False) for child in table.get_children()))

    table = symtable.symtable(source, "cell", "exec")
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    return bound, reads(table, True)


def tells_evidence(cell: Any) -> bool:
    """Whether a cell depends on nothing but the stored rows (`evidence.show` and so on)."""
    if cell.cell_type != "code" or has_tag(cell, "claim"):
        return False
    bound, read = names(cell.source)
    return "evidence" in read and not bound and read <= {"evidence", *dir(builtins)}


def borrowed_from_figures(notebook: nbformat.NotebookNode) -> set[str]:
    """Names that a measured cell reads although a figure cell bound them first.

    Figure cells are not part of the hash, so such a number could change unseen.
    """
    measured = {c.id for c in measured_cells(notebook)}
    figures, own, borrowed = set(), set(), set()
    for cell in until_claim(notebook):
        if cell.cell_type != "code":
            continue
        bound, read = names(cell.source)
        if cell.id in measured:
            borrowed |= read & (figures - own - bound)
            own |= bound
        else:
            figures |= bound
    return borrowed
