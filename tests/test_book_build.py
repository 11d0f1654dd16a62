"""The built book: complete, self-contained, with launch buttons only on request."""

import json
import re
from pathlib import Path

import pytest
import yaml

from build import ROOT, build, configuration, repository
from utils import chapters

ADDRESS = "https://github.com/owner/name"
# what a browser fetches on its own; <a href> is followed by a click only
LOADED = re.compile(
    r'<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc="(https?:)?//[^"]*"'
    r'|<link\b(?![^>]*rel="canonical")[^>]*\bhref="(https?:)?//[^"]*"', re.I)
STYLE_LOADS = re.compile(r'(?:url\(|@import)\s*["\']?(?:https?:)?//', re.I)

HOSTS = ("unpkg.com", "jsdelivr.net", "cdnjs.", "googleapis.com", "gstatic.com",
         "fontawesome.com/releases", "mathjax.org")


def documents() -> list[str]:
    """List the documents of _toc.yml."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    chapters = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    return [toc["root"], *chapters]


def test_every_document_has_a_page(pages: Path) -> None:
    """What the table of contents names was built; index.html leads to the first."""
    missing = [d for d in documents() if not (pages / f"{d}.html").is_file()]
    assert missing == []
    assert documents()[0] in (pages / "index.html").read_text(encoding="utf8")


def test_every_notebook_is_in_the_table_of_contents() -> None:
    """No chapter is forgotten in _toc.yml."""
    there = {p.relative_to(ROOT).with_suffix("").as_posix()
             for p in (ROOT / "book").rglob("*.ipynb")
             if ".ipynb_checkpoints" not in p.parts}
    assert there <= set(documents())


def test_pages_name_nothing_on_another_host(pages: Path) -> None:
    """No script, style, picture or font of any page comes from another host."""
    for page in pages.rglob("*.html"):
        text = page.read_text(encoding="utf8")
        assert not LOADED.search(text), (page.name, LOADED.search(text))
        assert [host for host in HOSTS if host in text] == []
    for style in pages.rglob("*.css"):
        text = style.read_text(encoding="utf8", errors="replace")
        assert not STYLE_LOADS.search(text), style.name


def test_pages_load_no_widget_library(pages: Path) -> None:
    """The stored controls are plain HTML: no widget manager, no require.js."""
    for document in documents():
        text = (pages / f"{document}.html").read_text(encoding="utf8")
        assert not re.search(r"require(?:\.min)?\.js|embed-amd|widget-state", text)


def test_links_inside_the_book_lead_somewhere(pages: Path) -> None:
    """Each relative link of each page names a file that exists, and its anchor too."""
    broken = []
    for page in pages.rglob("*.html"):
        if "_static" in page.parts:
            continue
        for link in re.findall(r'<a\b[^>]*\bhref="([^"]+)"',
                               page.read_text(encoding="utf8")):
            name, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (page.parent / name).resolve() if name else page
            if not target.exists():
                broken.append((page.name, link))
            elif anchor and target.suffix == ".html":
                if f'id="{anchor}"' not in target.read_text(encoding="utf8"):
                    broken.append((page.name, link))
    assert broken == []


def test_without_an_address_there_is_no_launch_button(pages: Path) -> None:
    """A build that does not know its repository offers no button that leads nowhere."""
    for document in documents():
        text = (pages / f"{document}.html").read_text(encoding="utf8")
        assert "colab.research" not in text and "mybinder.org" not in text
        assert "dropdown-launch-buttons" not in text


def test_with_an_address_chapters_can_be_launched(tmp_path: Path) -> None:
    """The buttons lead to the branch whose notebooks fetch what they need.

    Two pages are enough; without the others some of their references lead nowhere.
    """
    two = [d for d in documents() if d.count("/") == 2][:2]
    toc = {"format": "jb-book", "root": two[0], "chapters": [{"file": two[1]}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    html = build(tmp_path, ADDRESS, toc=tmp_path / "_toc.yml", strict=False)
    for document in two:
        text = (html / f"{document}.html").read_text(encoding="utf8")
        assert (f"colab.research.google.com/github/owner/name/blob/launch/"
                f"{document}.ipynb") in text
        assert re.search(r"mybinder\.org/v2/gh/owner/name/launch\?", text)
        assert ADDRESS in text
        assert not LOADED.search(text)


def test_configuration_is_untouched_without_an_address() -> None:
    """Only an address changes the configuration."""
    base = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    assert configuration(base, None) is base
    assert configuration(base, ADDRESS)["repository"]["branch"] == "launch"


@pytest.mark.parametrize("wrong", ["github.com/a/b", "https://github.com/a", "x"])
def test_a_wrong_address_is_refused(wrong: str) -> None:
    """The message shows what an address looks like."""
    with pytest.raises(ValueError, match="https://github.com/owner/name"):
        repository(wrong)


def test_an_address_is_tidied() -> None:
    """A closing slash or .git does no harm; no address is no address."""
    assert repository(f"{ADDRESS}.git") == repository(f"{ADDRESS}/") == ADDRESS
    assert repository("") is None and repository(None) is None


def test_search_index_knows_the_chapters(pages: Path) -> None:
    """The index that the search page loads names every document."""
    text = (pages / "searchindex.js").read_text(encoding="utf8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    assert set(documents()) <= set(index["docnames"])


def test_terms_of_the_glossary_name_the_chapters_that_use_them(pages: Path) -> None:
    """Each term that a chapter leads to leads back to that chapter."""
    text = (pages / "book/glossary.html").read_text(encoding="utf8")
    entries = re.findall(r"((?:<dt\b.*?</dt>\s*)+)<dd>(.*?)</dd>", text, re.S)
    back = {}
    for heads, body in entries:
        links = set(re.findall(r'href="([\w/-]+)\.html"', body))
        back |= {name: links for name in re.findall(r'id="(term-[^"]+)"', heads)}
    assert len(back) > 40
    for slug, chapter in chapters.find().items():
        made = (pages / f"book/{chapter.part}/{slug}.html").read_text(encoding="utf8")
        used = set(re.findall(r'href="\.\./glossary\.html#(term-[^"]+)"', made))
        assert used and not [t for t in used if f"{chapter.part}/{slug}" not in back[t]]
    named = {link for links in back.values() for link in links}
    assert named == {f"{c.part}/{c.slug}" for c in chapters.find().values()}


def test_references_have_links(pages: Path) -> None:
    """Most entries lead to the paper or to the page of the set; no id stands as plain text."""
    text = (pages / "book/references.html").read_text(encoding="utf8")
    entries = re.findall(r'<div class="citation".*?</div>', text, re.S)
    linked = [entry for entry in entries if 'href="http' in entry]
    assert len(entries) > 60 and len(linked) >= 0.85 * len(entries)
    for entry in entries:
        bare = re.sub(r"<a [^>]*>.*?</a>", "", entry, flags=re.S)
        assert not re.search(r"arXiv:\d|10\.\d{4}/|https?://", bare), bare
