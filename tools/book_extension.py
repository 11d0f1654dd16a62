"""Sphinx extension of the book: nothing from another host, nothing a reader trips over.

Jupyter Book always loads `sphinx-thebe`, whose pages carry the address of a script on
another host. The book does not run code in the page, so those parts are dropped.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def drop_thebe_settings(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Remove the settings that sphinx-thebe appends to each document."""
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        if "thebe" in text or "kernelName" in text:
            node.parent.remove(node)


def finish_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Remove sphinx-thebe's files and mend the roles of the reference lists.

    docutils marks a list of citations as `role="list"`, but its entries are no list
    items, which screen readers then announce as an empty list.
    """
    for kind in ("script_files", "css_files"):
        context[kind] = [
            entry
            for entry in context.get(kind, [])
            if "thebe" not in f"{entry}{getattr(entry, 'attributes', '')}".lower()
        ]
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension; it keeps no state, so reading may run in parallel."""
    app.connect("doctree-resolved", drop_thebe_settings, priority=900)
    app.connect("html-page-context", finish_page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
