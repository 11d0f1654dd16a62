"""The book as EPUB: strict XML, complete, formulas written out, controls as pictures."""

import posixpath
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

import epub
from build import FILE, ROOT, build
from test_book_build import documents
from utils import chapters

XHTML = "{http://www.w3.org/1999/xhtml}"
MATH = "{http://www.w3.org/1998/Math/MathML}"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("epub")
    before = folder / "_build/epub/of-an-earlier-build.json"
    before.parent.mkdir(parents=True)
    before.write_text("{}", encoding="utf8")
    try:
        file = build(folder, kind="epub")
    except subprocess.CalledProcessError:
        pytest.fail("the EPUB does not build: see 'make epub'", pytrace=False)
    with zipfile.ZipFile(file) as opened:
        yield opened


@pytest.fixture(scope="module")
def parsed(book: zipfile.ZipFile) -> dict[str, ElementTree.Element]:
    """Every page, read as strictly as a reader of EPUB reads it."""
    return {name: ElementTree.fromstring(book.read(name))
            for name in book.namelist() if name.endswith(".xhtml")}


def test_every_document_is_in_the_reading_order(book: zipfile.ZipFile) -> None:
    package = ElementTree.fromstring(book.read("content.opf"))
    space = {"o": "http://www.idpf.org/2007/opf"}
    items = {i.get("id"): i.get("href") for i in package.iterfind(".//o:item", space)}
    order = [items[i.get("idref")] for i in package.iterfind(".//o:itemref", space)]
    assert [d for d in documents() if f"{d}.xhtml" not in order] == []
    assert set(items.values()) <= set(book.namelist())
    assert "of-an-earlier-build.json" not in book.namelist()


def test_pictures_and_links_are_inside(book: zipfile.ZipFile,
                                       parsed: dict[str, ElementTree.Element]) -> None:
    """What a page shows, styles itself with or leads to is part of the file."""
    names = set(book.namelist())
    for name, page in parsed.items():
        for tag, key in (("img", "src"), ("link", "href"), ("a", "href")):
            for element in page.iter(XHTML + tag):
                target = element.get(key) or ""
                if re.match(r"[a-z]+:|#|$", target):
                    assert tag != "img" or target.startswith("data:image/jpeg"), name
                    continue
                path = posixpath.join(posixpath.dirname(name), target.partition("#")[0])
                assert posixpath.normpath(path) in names, (name, target)


def test_nothing_waits_for_a_script(parsed: dict[str, ElementTree.Element]) -> None:
    for name, page in parsed.items():
        there = [tag for tag in ("script", "input", "button", "iframe")
                 if page.find(f".//{XHTML}{tag}") is not None]
        assert there == [], name


def test_formulas_are_written_out(parsed: dict[str, ElementTree.Element]) -> None:
    """Each chapter has formulas, and no command of LaTeX is left in one."""
    for chapter in chapters.find().values():
        name = f"book/{chapter.part}/{chapter.slug}.xhtml"
        found = list(parsed[name].iter(MATH + "math"))
        assert found, name
        left = {text for formula in found for text in formula.itertext()
                if "\\" in text or "&" in text}
        assert left == set(), (name, left)


def test_references_name_the_number_of_their_formula(
        parsed: dict[str, ElementTree.Element]) -> None:
    checked = 0
    for name, page in parsed.items():
        numbers = {block.get("id"): block.find(f"{XHTML}span[@class='eqno']")
                   for block in page.iter(XHTML + "div") if block.get("class") == "math"}
        for link in page.iter(XHTML + "a"):
            target = (link.get("href") or "").partition("#")[2]
            if target in numbers:
                assert "".join(link.itertext()) == numbers[target].text, (name, target)
                checked += 1
    assert checked >= 5  # many formulas are named in words only


def test_letters_keep_their_style_without_mathvariant() -> None:
    """Some styled letters stood in Unicode before the others: R, L."""
    made = ElementTree.fromstring(
        epub.mathml(r"\mathbb R \mathbb 1 \mathcal L \mathcal S \mathbf x"))
    assert "".join(made.itertext()) == "\u211d\U0001d7d9\u2112\U0001d4ae\U0001d431"
    assert [part.tag for part in made.iter() if part.get("mathvariant")] == []


def test_a_control_leaves_its_picture_and_words(
        parsed: dict[str, ElementTree.Element]) -> None:
    for chapter in chapters.find().values():
        page = parsed[f"book/{chapter.part}/{chapter.slug}.xhtml"]
        control = page.find(f".//{XHTML}div[@class='control']")
        assert control is not None, chapter.slug
        assert len(control.findall(f".//{XHTML}img")) == 1
        assert len(control.findall(f".//{XHTML}li")) >= 2


def test_aligned_formulas_become_tables() -> None:
    """Two rows of two cells, and the LaTeX as the words of the formula."""
    made = ElementTree.fromstring(
        epub.mathml(r"\begin{aligned} a &= 1 \\ b &= \bigl(2\bigr) \end{aligned}", "block"))
    assert len(list(made.iter(MATH + "mtr"))) == 2
    assert len(list(made.iter(MATH + "mtd"))) == 4
    assert "aligned" in made.get("alttext") and made.get("display") == "block"


def test_html_becomes_xml() -> None:
    """Open tags close, links follow the pages, what was XML keeps its capitals."""
    assert epub.xml('<p>one<br>two <img src="a.png"></p>') == (
        '<p>one<br/>two <img src="a.png"/></p>')
    assert epub.xml('<a href="../b/c.html#d">e</a>') == '<a href="../b/c.xhtml#d">e</a>'
    assert epub.xml('<a href="https://f.org/g.html">h</a>').endswith('g.html">h</a>')
    drawing = epub.xml('<svg viewBox="0 0 1 1"><path d="M0 0"/></svg>')
    assert 'viewBox' in drawing and 'xmlns="http://www.w3.org/2000/svg"' in drawing


def test_pages_offer_the_epub_of_the_same_book(tmp_path: Path, pages: Path) -> None:
    """The front page hands out an EPUB of what it is made of itself, and no other."""
    def offers(folder: Path) -> list[Path]:
        front = folder / "book/intro.html"
        links = BeautifulSoup(front.read_text("utf8"), "html.parser").select("p.download a")
        return [(front.parent / link["href"]).resolve() for link in links]

    def front_page() -> Path:
        return build(tmp_path, toc=tmp_path / "toc.yml", strict=False)

    assert offers(pages) == []
    file = tmp_path / "_build/epub" / f"{FILE}.epub"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a book")
    epub.stamp(file).write_text(epub.fingerprint(ROOT))
    (tmp_path / "toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    assert [offer.read_bytes() for offer in offers(front_page())] == [b"a book"]
    epub.stamp(file).write_text("an older book")  # the pages stand, nothing else has changed
    made = front_page()
    assert offers(made) == [] and not (made / file.name).exists() and file.exists()


def test_an_epub_is_stamped(book: zipfile.ZipFile) -> None:
    """Beside it stands what it was made of."""
    assert epub.stamp(Path(book.filename)).read_text("utf8") == epub.fingerprint(ROOT)


def test_every_input_changes_the_fingerprint(tmp_path: Path) -> None:
    """A file that changes, comes or goes; but not what Python and Jupyter leave behind."""
    (tmp_path / "book/edges").mkdir(parents=True)
    (tmp_path / "tools/__pycache__").mkdir(parents=True)
    seen = [epub.fingerprint(tmp_path)]
    for name, text in (("_toc.yml", "a"), ("book/edges/hed.ipynb", "b"), ("_toc.yml", "c")):
        (tmp_path / name).write_text(text)
        seen.append(epub.fingerprint(tmp_path))
    (tmp_path / "_toc.yml").rename(tmp_path / "book/_toc.yml")
    seen.append(epub.fingerprint(tmp_path))
    assert len(set(seen)) == 5
    (tmp_path / "tools/__pycache__/a.pyc").write_text("d")
    (tmp_path / "README.md").write_text("e")
    assert epub.fingerprint(tmp_path) == seen[-1]
