"""The book as EPUB: formulas as MathML, pictures inside, controls as pictures and words.

A reader of EPUB follows XML strictly and runs no scripts. So formulas are written out
(`latex2mathml`), HTML that is not XML is mended, and of a control there stay its first
picture and the words of its other positions.
"""

import base64
import hashlib
import io
import re
import shutil
import unicodedata
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from latex2mathml.converter import convert
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

RENDERER = "mathml"
INPUTS = ("_config.yml", "_toc.yml", "assets", "book", "tools", "utils")  # of the book


def mathml(latex: str, display: str = "inline") -> str:
    """A formula in LaTeX as a MathML element; the LaTeX stays as its spoken text."""
    known = latex.replace("{aligned}", "{align*}")  # the converter knows this one
    known = re.sub(r"\\[bB]igg?[lr]?(?![a-zA-Z])", "", known)  # MathML stretches by itself
    known = known.replace(r"\arg\max", r"\operatorname{arg\,max}")
    element = convert(" ".join(known.split()), display=display)
    element = re.sub(r'<(m[in]) mathvariant="(bold|double-struck|script)">(\w)<',
                     lambda m: f"<{m[1]}>{in_style(m[3], m[2])}<", element)
    return element.replace("<math ", f'<math alttext="{escape(latex, quote=True)}" ', 1)


def in_style(letter: str, style: str) -> str:
    """The Unicode character of a letter or digit in a style: MathML Core, which many
    readers follow, knows no `mathvariant` but "normal"."""
    kind = "DIGIT" if letter.isdigit() else "CAPITAL" if letter.isupper() else "SMALL"
    name = f"{style} {kind} {unicodedata.name(letter).split()[-1]}".upper()
    try:
        return unicodedata.lookup(f"MATHEMATICAL {name}")
    except KeyError:                    # R, L and others stood in Unicode before
        return unicodedata.lookup(name)


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def display_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on a line of its own, with its number and the target of references."""
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:                  # floats to the right of the formula's first line
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})</span>')
    translator.body.append(mathml(node.astext(), "block"))
    translator.body.append("</div>")
    raise nodes.SkipNode


def jpeg(found: re.Match[str]) -> str:
    """A WebP picture, which older readers do not know, as a JPEG."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB")
    picture.save(buffer, format="jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def still(control: Tag) -> str:
    """A control's first picture, and what its other positions would show."""
    frames = control.find_all("img")
    first = next(frame for frame in frames if not frame.has_attr("hidden"))
    words = "".join(f"<li><b>{escape(f['data-value'])}</b>: {escape(f['alt'])}</li>"
                    for f in frames)
    return (f'<div class="control"><img alt="{escape(first["alt"], quote=True)}" '
            f'src="{first["src"]}"/><p>{escape(control["aria-label"])}: '
            f"the book's pages have a control here. Its positions:</p><ul>{words}</ul>"
            "</div>")


def xml(html: str) -> str:
    """HTML as well-formed XML, with links to the EPUB's own pages and no WebP."""
    html = re.sub(r'href="(?!https?:)([^"#]+)\.html', r'href="\1.xhtml', html)
    html = re.sub(r"<svg (?![^>]*xmlns=)", '<svg xmlns="http://www.w3.org/2000/svg" ', html)
    try:
        ElementTree.fromstring(f"<div>{html}</div>")
    except ElementTree.ParseError:
        soup = BeautifulSoup(html, "html.parser")
        control = soup.select_one("figure.flipbook")
        html = still(control) if control else str(soup)
    return re.sub(r"data:image/webp;base64,([\w+/=]+)", jpeg, html)


def mend(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Make XML of the HTML that chapters and front page bring along."""
    if app.builder.name != "epub":
        return
    for node in list(doctree.findall(nodes.raw)):
        if "html" in node.get("format", "").split():
            node.parent.replace(node, nodes.raw("", xml(node.astext()), format="html"))


def own_style_only(app: Sphinx, page: str, template: str, context: dict[str, Any],
                   doctree: Any) -> None:
    """Name no file that the EPUB does not hold: the pages' styles and scripts."""
    if app.builder.name == "epub":
        context["script_files"] = []
        context["css_files"] = [f"_static/{name}"
                                for name, _ in app.config.epub_css_files]


def choose_renderer(app: Sphinx) -> None:
    """MathML for the EPUB; pages keep MathJax, which Sphinx drops beside another one."""
    app.config.html_math_renderer = RENDERER if app.builder.name == "epub" else "mathjax"


def fingerprint(root: Path) -> str:
    """One hash of all files that the book is made of."""
    files = [path for part in INPUTS for path in (root / part, *(root / part).rglob("*"))
             if path.is_file() and path.parent.name not in ("__pycache__", ".ipynb_checkpoints")]
    lines = [f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
             for path in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def made(app: Sphinx) -> Path:
    """Where the EPUB is, beside the folder of the pages, if it was built."""
    return Path(app.outdir).parent / "epub" / f"{app.config.epub_basename}.epub"


def stamp(file: Path) -> Path:
    """Where the fingerprint of what an EPUB was made of stands."""
    return file.with_suffix(".made-of")


def look(app: Sphinx) -> None:
    """Before a build: what is the book made of, and is there an EPUB of the same?"""
    file, now = made(app), fingerprint(Path(app.srcdir))
    app.book_is_made_of = now
    app.epub_to_offer = file if file.is_file() and stamp(file).is_file() and (
        stamp(file).read_text("utf8") == now) else None


def offers_anew(app: Sphinx, *_: Any) -> list[str]:
    """The front page is read at each build: the EPUB may have come or be out of date."""
    return [app.config.root_doc]


def hand_out(app: Sphinx, problem: Exception | None) -> None:
    """Stamp a new EPUB; put the one that pages offer among them, and no older one."""
    if problem:
        return
    if app.builder.name == "epub":
        stamp(made(app)).write_text(app.book_is_made_of, encoding="utf8")
    elif app.builder.name == "html":
        (Path(app.outdir) / made(app).name).unlink(missing_ok=True)
        if app.epub_to_offer:
            shutil.copy(app.epub_to_offer, app.outdir)


class Download(SphinxDirective):
    """`{epub-download}`: a sentence that offers the EPUB, where there is one of this book."""

    def run(self) -> list[nodes.Node]:
        file = self.env.app.epub_to_offer
        if self.env.app.builder.name == "epub" or file is None:
            return []
        up = "../" * self.env.docname.count("/")
        offer = (f'<p class="download"><a href="{up}{file.name}" download>The book as '
                 f"EPUB</a>, for readers of electronic books "
                 f"({file.stat().st_size / 1e6:.0f} MB).</p>")
        return [nodes.raw("", offer, format="html")]


def setup(app: Sphinx) -> None:
    """Register what the EPUB needs; other builders stay as they are."""
    app.add_directive("epub-download", Download)
    app.connect("builder-inited", look)
    app.connect("env-get-outdated", offers_anew)
    app.connect("build-finished", hand_out)
    app.add_html_math_renderer(RENDERER, (inline_math, None), (display_math, None))
    app.connect("builder-inited", choose_renderer, priority=1)
    app.connect("doctree-resolved", mend, priority=950)
    app.connect("html-page-context", own_style_only, priority=950)
