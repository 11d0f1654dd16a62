"""The contract of the second edition: short, picture first, conclusions said and tied."""

import ast
import base64
import importlib.util
import io
import re
import statistics
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tagged
from utils import chapters, data, evidence

SLUGS = list(chapters.find())
WORDS, LINES, FIGURES, BEFORE_PICTURE = 2400, 250, (6, 12), 25
PANEL = 110 / 350  # of a phone's column of 350 pixels
FOLDS = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
HEDGES = re.compile(
    r"\b(?:if|where|should) (?:the|these|those|this|that|its|your) "
    r"(?:rows?|intervals?|tables?|numbers?|differences?)\b|\blook (?:whether|if)\b"
    r"|\bread (?:it|them|the rows?|the table) row by row\b|\bsee whether\b", re.I)


def without_solutions(slug: str) -> list:
    """The cells, without solutions and references: what a reader reads at first."""
    kept, inside = [], False
    for cell in chapters.get(slug).notebook.cells:
        if cell.cell_type != "markdown":
            if not inside:
                kept.append(cell)
            continue
        text = re.sub(r"(`{3,})\{solution\}.*?\n\1", " ", cell.source, flags=re.S)
        parts = []
        for part in re.split(r"(`{3,}\{solution-(?:start|end)\})", text):
            if "{solution-" in part:
                inside = "start" in part
            elif not inside:
                parts.append(part)
        cell.source = "".join(parts).split("\n## References")[0]
        kept.append(cell)
    return kept


def prose(slug: str) -> str:
    return "\n".join(c.source for c in without_solutions(slug) if c.cell_type == "markdown")


def visible(slug: str) -> list:
    """Code cells that are not folded."""
    return [c for c in without_solutions(slug)
            if c.cell_type == "code" and not set(c.metadata.get("tags", [])) & FOLDS]


def lines(cell) -> list[str]:
    return [line for line in cell.source.splitlines()
            if line.strip() and not line.strip().startswith(("#", "%"))]


def shows_picture(cell) -> bool:
    return any(kind.startswith("image/") for o in cell.get("outputs", [])
               for kind in o.get("data", {}))


def figures(slug: str) -> dict[str, dict]:
    """mystnb metadata of the cells that store a picture, by the figure's name."""
    return {c.metadata["mystnb"]["figure"]["name"]: c.metadata["mystnb"]
            for c in chapters.get(slug).notebook.cells
            if c.cell_type == "code" and shows_picture(c)}


@pytest.mark.parametrize("slug", SLUGS)
def test_twenty_minutes(slug: str) -> None:
    text = re.sub(r"```.*?```|\$\$.*?\$\$|<[^>]+>|\{cite\w*\}`[^`]*`", " ", prose(slug),
                  flags=re.S)
    words = len(re.findall(r"\w+(?:[-'’]\w+)*", text))
    sizes = [len(lines(c)) for c in visible(slug)]
    assert words <= WORDS and sum(sizes) <= LINES, (words, sum(sizes))
    assert statistics.median(sizes) <= 8 and max(sizes) <= 30


@pytest.mark.parametrize("slug", SLUGS)
def test_picture_first(slug: str) -> None:
    before = 0
    for cell in without_solutions(slug):
        if cell.cell_type == "code":
            before += 0 if set(cell.metadata.get("tags", [])) & FOLDS else len(lines(cell))
            if shows_picture(cell):
                break
    assert before <= BEFORE_PICTURE


@pytest.mark.parametrize("slug", SLUGS)
def test_first_screen(slug: str) -> None:
    """Title, byline with links, hero, "In one minute"; the sketch and the card follow."""
    notebook = chapters.get(slug).notebook
    first = notebook.cells[0].source
    title, byline, *_ = re.split(r"\n\s*\n", first)
    assert title.startswith("# ") and "{cite}" in byline and "](http" in byline
    glued = re.search(rf"```\{{glue:figure\}} {slug}-hero\n:name: {slug}-hero\n"
                      r":alt: (.+)\n\n(.+?)\n```", first, re.S)
    assert glued and "**In one minute.**" in first[glued.end():]
    hero, sketch = (figures(slug)[f"{slug}-{part}"] for part in ("hero", "sketch"))
    same = lambda a, b: " ".join(a.split()) == " ".join(b.split())  # noqa: E731
    assert same(glued[1], hero["image"]["alt"])
    assert same(glued[2], hero["figure"]["caption"])
    until = next(i for i, c in enumerate(notebook.cells) if "## The problem" in c.source)
    early = notebook.cells[:until + 1]
    assert any("{chapter-card}" in c.source for c in early)
    cell = next(c for c in early
                if c.metadata.get("mystnb", {}).get("figure", {}).get("name", "")
                == f"{slug}-sketch")
    markup = cell.outputs[-1].data["text/html"]
    assert sketch["image"]["alt"] in re.sub("&amp;", "&", markup) or "<svg" in markup


@pytest.mark.parametrize("slug", SLUGS)
def test_figures(slug: str) -> None:
    assert FIGURES[0] <= len(figures(slug)) <= FIGURES[1]


@pytest.mark.parametrize("slug", SLUGS)
def test_folded_cells_say_what_they_hold(slug: str) -> None:
    folded = [c for c in chapters.get(slug).notebook.cells
              if "hide-input" in c.metadata.get("tags", [])]
    silent = [c.source[:60] for c in folded
              if not c.metadata.get("mystnb", {}).get("code_prompt_show", "")
              .startswith("Show ")]
    assert silent == []


@pytest.mark.parametrize("slug", SLUGS)
def test_conclusions_are_said_and_tied(slug: str) -> None:
    """No sentence leaves the reading to the reader; words stand under `evidence.says`."""
    assert HEDGES.findall(prose(slug)) == []
    code = "\n".join(c.source for c in visible(slug) + chapters.get(slug).notebook.cells
                     if c.cell_type == "code")
    assert "evidence.says(" in code and "evidence.verdict(" in code
    telling = [c for c in chapters.get(slug).notebook.cells if tagged.tells_evidence(c)]
    for cell in telling:  # raises where prose and rows part
        exec(compile(cell.source, slug, "exec"), {"evidence": evidence})
    stored = evidence.load(slug)
    for source in evidence.sources(stored):
        assert len(evidence.rows_of(stored, source)) >= 5


@pytest.mark.parametrize("slug", SLUGS)
def test_names_in_backticks_exist(slug: str) -> None:
    """`names` in prose occur in the chapter's code, in utils, or in what it imports."""
    notebook = chapters.get(slug).notebook
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    package = Path(evidence.__file__).parent
    code += "\n".join(f.read_text(encoding="utf8") for f in package.rglob("*.py"))
    code += (chapters.root() / "Makefile").read_text(encoding="utf8")
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?\n|\{[\w:-]+\}`[^`]*`", "\n", text)
    missing = []
    for name in re.findall(r"(?<![`}\w])`([^`\n]+)`", text):
        for word in re.findall(r"[A-Za-z_]\w{2,}", name):
            if not re.search(rf"\b{word}\b", code) and not importable(word):
                missing.append(name)
    assert missing == []


def importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@pytest.mark.parametrize("slug", SLUGS)
def test_words_read_well_in_jupyterlab(slug: str) -> None:
    """JupyterLab knows no MyST: terms are links, exercises no blocks of code."""
    text = "\n".join(c.source for c in chapters.get(slug).notebook.cells
                     if c.cell_type == "markdown")
    assert re.findall(r"\{term\}|```\{exercise\}", text) == []
    assert len(re.findall(r"^:::\{exercise\} \w", text, re.M)) >= 3


@pytest.mark.parametrize("slug", SLUGS)
def test_named_chapters_are_linked(slug: str) -> None:
    """A chapter that exists and is named is linked at least once."""
    text = "\n".join(c.source for c in chapters.get(slug).notebook.cells
                     if c.cell_type == "markdown")
    short = {"hed": "HED", "unet": "U-Net", "senet": "SENet", "pspnet": "PSPNet",
             "residual-attention": "Residual Attention", "dssd": "DSSD", "osvos": "OSVOS",
             "network-slimming": "Network Slimming",
             "deep-image-matting": "Deep Image Matting", "dss": "DSS", "casenet": "CASENet",
             "object-boundary-guided": "Object Boundary Guided",
             "edge-classification": "Classification with an Edge",
             "pixel-deconv": "Pixel Deconvolution", "ei-cnn": "EI-CNN", "lrnn": "L-RNN",
             "adversarial-segmentation": "Adversarial Segmentation", "dsd": "DSD",
             "rcnn": "RCNN", "idk-cascades": "IDK Cascades",
             "deep-layer-cascade": "Deep Layer Cascade", "sstd": "SSTD",
             "fastmask": "FastMask", "visual-memory": "Visual Memory",
             "brain-tumor": "Brain Tumour"}
    unlinked = [other for other, name in short.items()
                if other != slug and other in chapters.find()
                and re.search(rf"\b{re.escape(name)}\b", text)
                and not re.search(rf"\]\([^)]*\b{other}\.ipynb", text)]
    assert unlinked == []


def test_the_data_page_names_who_runs_on_a_set() -> None:
    """Its table links every chapter that has rows on a real set, in the row of that set."""
    page = "\n".join(c.source for c in chapters.get("data").notebook.cells)
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", page, re.M))
    assert set(rows) == set(data.REAL)
    missing = [(slug, name) for slug in chapters.find()
               for name in evidence.sources(evidence.load(slug) or {"rows": []})
               if name in data.REAL and f"/{slug}.ipynb" not in rows[name]]
    assert missing == []


def control(slug: str) -> str:
    """The stored HTML of the chapter's control."""
    found = [html for c in chapters.get(slug).notebook.cells for o in c.get("outputs", [])
             if 'class="flipbook"' in (html := o.get("data", {}).get("text/html", ""))]
    assert len(found) == 1
    return found[0]


def frames(html: str) -> list[np.ndarray]:
    """The frames of a control as grey pictures (H, W) in 0..255, all of one size."""
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))).convert("L").resize((400, 200))
                for data in re.findall(r"data:image/webp;base64,([^\"]+)", html)]
    return [np.asarray(p, dtype=float) for p in pictures]


@pytest.mark.parametrize("slug", SLUGS)
def test_neighbouring_frames_differ_visibly(slug: str) -> None:
    """At least 0.3 % of the picture changes by more than a tenth of black to white."""
    for number, (a, b) in enumerate(pairwise(frames(control(slug)))):
        assert (np.abs(a - b) > 25).mean() > 0.003, f"frames {number} and {number + 1}"


@pytest.mark.parametrize("slug", SLUGS)
def test_panels_are_wide_enough_for_a_phone(slug: str) -> None:
    share = re.search(r'data-panel="([\d.]+)"', control(slug))
    assert share and float(share[1]) >= PANEL


@pytest.mark.parametrize("slug", SLUGS)
def test_checks_are_tagged_for_comparison(slug: str) -> None:
    """Cells that tell of the rows, and at least some others, are compared by nbval."""
    cells = [c for c in chapters.get(slug).notebook.cells if c.cell_type == "code"]
    checked = [c for c in cells if "nbval-check-output" in c.metadata.get("tags", [])]
    telling = [c for c in cells if tagged.tells_evidence(c)]
    assert all(c in checked for c in telling)
    assert len(checked) - len(telling) >= 3


@pytest.mark.parametrize("slug", SLUGS)
def test_one_palette(slug: str) -> None:
    """Colours are named by their role; a chapter types none of its own but greys."""
    tree = ast.parse("\n".join(c.source for c in chapters.get(slug).notebook.cells
                               if c.cell_type == "code"))
    typed = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)
             and isinstance(n.value, str) and re.fullmatch("#[0-9a-fA-F]{6}", n.value)}
    assert not {c for c in typed if len({c[1:3], c[3:5], c[5:7]}) > 1}
