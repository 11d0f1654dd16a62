"""Sphinx extension of the book: front page, map and cards of chapters, terms that explain
themselves, nothing from another host.

Jupyter Book always loads `sphinx-thebe`, whose pages carry the address of a script on
another host. The book does not run code in the page, so those parts are dropped.
"""

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

import epub
import front
from utils import chapters, evidence

class Listing(SphinxDirective):
    """A directive that writes a table in Markdown from the stored files."""

    def parsed(self, lines: list[str]) -> list[nodes.Node]:
        box = nodes.container()
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), 0, box)
        return box.children


class ChapterCard(Listing):
    """`{chapter-card}`: weights here and in the paper, seconds and memory of a chapter.

    Drawn at build time from the file of the last runs, so that a page never tells of the
    run before the one that made it.
    """

    def run(self) -> list[nodes.Node]:
        slug = self.env.docname.rsplit("/", 1)[-1]
        chapter, ran = chapters.get(slug), chapters.last_runs().get(slug)
        self.env.note_dependency(str(chapters.root() / chapters.RUNS))
        if ran is None:
            raise self.error(f"{slug} has no stored run: make run CHAPTER={slug}")
        paper = chapter.notebook.metadata["book"]["paper_parameters"]
        paper = f"{paper:,}" if isinstance(paper, int) else paper
        here = ", ".join(f"{name}: {n:,}" for name, n in ran["parameters"].items())
        return self.parsed([
            "```{list-table}", ":class: chapter-card", "",
            "* - Weights here", f"  - {here}", "* - In the paper", f"  - {paper}",
            "* - Runs in", f"  - {ran['seconds']:.0f} s of one processor core, "
            f"{ran['peak_mb'] / 1000:.1f} GB at most", "```"])


class Front(Listing):
    """`{front-page}` strip, tally, gallery or claims: what a page makes of all chapters."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        watched = [chapters.root() / front.FILE, chapters.root() / chapters.RUNS]
        for slug, chapter in chapters.find().items():
            watched += [chapter.path, evidence.path(slug)]
        for file in watched:
            self.env.note_dependency(str(file))
        made = {"strip": front.strip, "tally": front.told_tally, "gallery": front.gallery,
                "claims": front.claims}
        if self.arguments[0] not in made:
            raise self.error(f"front-page is one of {', '.join(made)}")
        return [nodes.raw("", made[self.arguments[0]](), format="html")]


class LineageMap(Listing):
    """`{lineage-map}`: the papers by date and what they build on, drawn and as a list."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(chapters.root() / front.FILE))
        drawn = nodes.raw("", front.legend() + front.lineage(), format="html")
        return [drawn, *self.parsed(["### The same in words", "", *front.lineage_list()])]


GLOSSARY, TERMS = "book/glossary", "glossary.js"
MATHJAX = "mathjax/startup.js"  # loads the parts that _config.yml names


def write_terms(app: Sphinx, problem: Exception | None) -> None:
    """Write the glossary as a script, for pages that show a definition on hover.

    A page opened from a file may not fetch another one, but it may load a script.
    """
    if problem or app.builder.format != "html" or GLOSSARY not in app.env.found_docs:
        return
    terms = {}
    for item in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        text = " ".join(item.next_node(nodes.definition).astext().split())
        terms |= {name: text for term in item.findall(nodes.term) for name in term["ids"]}
    script = Path(app.outdir) / "_static" / TERMS
    script.write_text(f"window.BOOK_TERMS = {json.dumps(terms, ensure_ascii=False)};\n",
                      encoding="utf8")


def uses_of_terms() -> dict[str, list[chapters.Chapter]]:
    """Term of the glossary, in small letters -> the chapters whose text leads to it."""
    found: dict[str, list[chapters.Chapter]] = {}
    for chapter in chapters.find().values():
        text = "\n".join(c.source for c in chapter.notebook.cells
                         if c.cell_type == "markdown")
        targets = re.findall(r"\]\(<?#([^)>]+)>?\)", text)
        for term in {" ".join(target.split()).lower() for target in targets}:
            found.setdefault(term, []).append(chapter)
    return found


class LinksToTerms(SphinxPostTransform):
    """Let a link such as `[IoU](#IoU)` lead to the glossary, before MyST looks for it.

    Notebooks link so, since JupyterLab shows it as a link and `{term}` as it is written.
    MyST itself finds only those terms that have no capitals.
    """

    default_priority = 8                # MyST's own has 9

    def run(self, **_: Any) -> None:
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node["reftype"] == "myst" and "refdoc" in node:
                link = self.env.domains["std"].resolve_xref(
                    self.env, node["refdoc"], self.app.builder, "term", node["reftarget"],
                    node, node[0].deepcopy())
                if link is not None:
                    node.replace_self(link)


def list_uses(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Below each definition of the glossary, links to the chapters that use the term."""
    if page != GLOSSARY:
        return
    uses = uses_of_terms()
    for item in doctree.findall(nodes.definition_list_item):
        names = {term.astext().lower() for term in item.findall(nodes.term)}
        users = [c for c in chapters.find().values()
                 if any(c in uses.get(name, ()) for name in names)]
        if not users:
            continue
        told = nodes.paragraph("", "Used in ", classes=["uses"])
        for number, chapter in enumerate(users):
            target = f"book/{chapter.part}/{chapter.slug}"
            link = app.builder.get_relative_uri(page, target)
            told += nodes.Text(", " if number else "")
            told += nodes.reference("", front.papers()[chapter.slug].name, refuri=link,
                                    internal=True)
        told += nodes.Text(".")
        item.next_node(nodes.definition).append(told)


def drop_thebe_settings(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Remove the settings that sphinx-thebe appends to each document."""
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        if "thebe" in text or "kernelName" in text:
            node.parent.remove(node)


def finish_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop scripts that a page does not need; mend the roles of the reference lists.

    Not needed are sphinx-thebe's, and MathJax on a page without a formula (the front page,
    since pages below it have some). docutils marks a list of citations as `role="list"`,
    but its entries are no list items, which screen readers announce as an empty list.
    """
    idle = "thebe" if 'class="math' in context.get("body", "") else "thebe|mathjax"
    for kind in ("script_files", "css_files"):
        context[kind] = [
            entry
            for entry in context.get(kind, [])
            if not re.search(idle, f"{entry}{getattr(entry, 'attributes', '')}", re.I)
        ]
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension; it keeps no state, so reading may run in parallel."""
    epub.setup(app)
    app.config.mathjax_path = MATHJAX
    app.add_directive("front-page", Front)
    app.add_directive("lineage-map", LineageMap)
    app.add_directive("chapter-card", ChapterCard)
    app.add_js_file(TERMS, priority=400)
    app.add_post_transform(LinksToTerms)
    app.connect("build-finished", write_terms)
    app.connect("doctree-resolved", list_uses)
    app.connect("doctree-resolved", drop_thebe_settings, priority=900)
    app.connect("html-page-context", finish_page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
