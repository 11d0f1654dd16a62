"""The front page and the lineage map: what they are made of, and how they look."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from PIL import Image

import front
from test_pages import THEME, WHOLE, WIDTHS, Visit
from utils import chapters, evidence

PAPERS = front.papers()
LINKED = re.compile(r"\]\((?:\.\./)?(?:[\w-]+/)?([\w-]+)\.ipynb")


def prose(slug: str) -> str:
    return "\n".join(c.source for c in chapters.get(slug).notebook.cells
                     if c.cell_type == "markdown")


def leads_to(slug: str) -> set[str]:
    """The chapters that a chapter's "Where it leads" links."""
    found = re.search(r"## Where it leads\n(.*?)\n## ", prose(slug), re.S)
    return set(LINKED.findall(found.group(1)))


def test_there_are_25_papers_and_every_chapter_is_one() -> None:
    assert len(PAPERS) == 25 and len({p.name for p in PAPERS.values()}) == 25
    for slug, chapter in chapters.find().items():
        assert PAPERS[slug].part == chapter.part and PAPERS[slug].chapter == chapter
        assert PAPERS[slug].picture is not None
    order = [s for s in PAPERS if PAPERS[s].chapter]
    assert order == [s for part in front.parts() for s in chapters.find()
                     if PAPERS[s].part == part]  # as in the table of contents


@pytest.mark.parametrize("slug", [s for s, p in PAPERS.items() if p.chapter])
def test_dates_are_those_of_the_arxiv_number(slug: str) -> None:
    cited = re.search(r"arxiv\.org/abs/(\d\d)(\d\d)\.\d+", chapters.get(slug).notebook.cells[0].source)
    if cited is None:
        pytest.skip("the paper has no number on arXiv")
    assert PAPERS[slug].date == f"20{cited[1]}-{cited[2]}"


def test_lines_lead_from_older_papers_to_newer_ones() -> None:
    for paper in PAPERS.values():
        assert not set(paper.took) & set(paper.beside) and paper.slug not in paper.took
        for older in paper.took:
            assert PAPERS[older].date <= paper.date


@pytest.mark.parametrize("pair", [(p.slug, other) for p in PAPERS.values()
                                  for other in p.took + p.beside], ids="-".join)
def test_lines_of_the_map_are_spoken_of_in_the_chapters(pair: tuple[str, str]) -> None:
    """Where both chapters stand, one of them links the other under "Where it leads"."""
    if not all(PAPERS[slug].chapter for slug in pair):
        pytest.skip("one of the two chapters does not stand yet")
    one, other = pair
    assert other in leads_to(one) or one in leads_to(other)


def test_a_picture_is_the_panels_that_were_asked_for() -> None:
    address = front.panels("hed", "hed-hero", [[3, 27, 297, 321], [602, 371, 898, 667]], 100)
    kind, _, data = address.partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == "data:image/webp;base64" and picture.size == (100 + front.GAP + 100, 100)
    with pytest.raises(ValueError, match="lies outside of hed-hero"):
        front.panels("hed", "hed-hero", [[3, 27, 5000, 321]])
    with pytest.raises(ValueError, match="no stored figure 'hed-nothing'"):
        front.panels("hed", "hed-nothing", [[0, 0, 1, 1]])


@pytest.mark.parametrize("slug", [s for s, p in PAPERS.items() if p.chapter])
def test_no_panel_is_blank(slug: str) -> None:
    told = PAPERS[slug].picture
    image, _ = front.figure(slug, told["figure"])
    for box in told["panels"]:
        panel = image.crop(tuple(box)).convert("L")
        low, high = panel.getextrema()
        assert high - low > 60 and 0.6 < panel.width / panel.height < 1.7


def test_minutes_count_prose_and_open_code(tmp_path: Path) -> None:
    cell = nbformat.v4
    folded = cell.new_code_cell("x = 1\n" * 400, metadata={"tags": ["hide-input"]})
    notebook = cell.new_notebook(cells=[
        cell.new_markdown_cell("word " * 660), cell.new_code_cell("x = 1\n" * 60), folded,
        cell.new_markdown_cell("word " * 220 + "\n```{solution-start} a\n```"),
        cell.new_code_cell("y\n" * 99),
        cell.new_markdown_cell("word " * 500 + "\n```{solution-end}\n```"),
        cell.new_markdown_cell("$$" + "x " * 900 + "$$")])
    path = tmp_path / "made.ipynb"
    nbformat.write(notebook, path)
    assert front.minutes(chapters.Chapter("made", "edges", path)) == 880 / 220 + 60 / 20


def test_verdict_words_are_those_of_the_rows() -> None:
    words = {word for slug in chapters.find() for word, _ in front.verdicts(slug)}
    assert words <= {*front.CHIPS.values(), "one run"} and len(words) >= 2
    assert sum(front.tally().values()) == sum(
        any(w != "one run" for w, _ in front.verdicts(s)) for s in chapters.find())
    assert str(len(chapters.find())) in front.told_tally()


def test_every_stored_claim_has_a_row() -> None:
    made = front.claims()
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', made)
    stored = {slug: evidence.load(slug) for slug in chapters.find()}
    assert len(rows) == sum(len(evidence.sources(s)) for s in stored.values())
    lower = [slug for slug, s in stored.items() if s["better"] == "lower"]
    assert lower and made.count("(lower is better)") == sum(
        len(evidence.sources(stored[slug])) for slug in lower)
    for slug, paper in PAPERS.items():
        assert set(paper.marks) <= set(evidence.sources(stored[slug]) if slug in stored else [])
    assert made.count("claim-mark") == sum(len(p.marks) for p in PAPERS.values())
    assert made.count('class="claim-axis"') == 2


def test_the_axis_of_gains_keeps_order_and_ends() -> None:
    places = [front._along(g) for g in (-1e9, -200, -10, -3, 0, 3, 10, 50, 1000, 1e9)]
    assert places == sorted(places) and places[0] == 0 and places[-1] == front.BAR
    zero = front._along(0)
    assert front._along(5) - zero == pytest.approx((front._along(10) - zero) / 2)
    assert front._along(100) - front._along(10) == pytest.approx(front._along(10) - zero)


def test_a_paper_without_a_chapter_is_a_quiet_card() -> None:
    paper = front.Paper("x", "X & Y", "edges", "2016-01", "A <line>.", None, (), (), {}, None)
    made = front.card(paper)
    assert "card-quiet" in made and "<a " not in made and "X &amp; Y" in made
    assert "A &lt;line&gt;." in made


def test_the_map_has_all_papers_and_all_lines() -> None:
    svg = front.lineage()
    for paper in PAPERS.values():
        assert f">{front.escape(paper.name)}</text>" in svg
        assert (f'href="{paper.page}"' in svg) == (paper.chapter is not None)
    lines = sum(len(p.took) + len(p.beside) for p in PAPERS.values())
    assert svg.count("<path class=") == lines and lines > 20
    assert svg.count("marker-end") == sum(len(p.took) for p in PAPERS.values())
    assert len(front.lineage_list()) == 25


@pytest.fixture(params=[1280, 390])
def first(request, browser, pages: Path) -> Iterator[Visit]:
    visit = Visit(browser, pages, "book/intro", request.param)
    yield visit
    visit.context.close()


def test_the_first_picture_is_on_the_first_screen(first: Visit) -> None:
    top = first.page.locator(".front-strip img").first.bounding_box()["y"]
    assert top < (400 if first.width == 1280 else 500)


def test_cards_are_shown_and_lead_to_their_chapters(first: Visit) -> None:
    cards = first.page.locator(".card-paper")
    assert cards.count() == 25
    standing = first.page.locator(".card-paper h4 a")
    assert standing.count() == len(chapters.find())
    drawn = first.page.evaluate(
        "() => [...document.querySelectorAll('.card-paper img')].every("
        "i => { i.loading = 'eager'; return i.getAttribute('src').length > 1000 })")
    assert drawn and cards.first.bounding_box()["width"] > 200
    standing.first.focus()
    first.page.keyboard.press("Enter")
    first.page.wait_for_url("**/unet.html")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_map_can_be_read_and_walked(browser, pages: Path, width: int) -> None:
    visit = Visit(browser, pages, "book/lineage", width)
    page, links = visit.page, visit.page.locator("svg.lineage a")
    assert links.count() == len(chapters.find())
    label = page.locator("svg.lineage a text").first.bounding_box()
    assert label["height"] > 11  # pixels of the screen
    dimmed = "() => [...document.querySelectorAll('svg.lineage > path')].filter(" \
             "p => getComputedStyle(p).opacity < 1).length"
    assert page.evaluate(dimmed) == 0
    page.locator("svg.lineage a.at-hed").focus()
    assert 0 < page.evaluate(dimmed) < sum(len(p.took) + len(p.beside) for p in PAPERS.values())
    page.keyboard.press("Enter")
    page.wait_for_url("**/hed.html")
    visit.context.close()
    assert visit.trouble == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_claims_can_be_read(browser, pages: Path, width: int) -> None:
    visit = Visit(browser, pages, "book/claims", width)
    page = visit.page
    assert page.locator("table.claims tr th[scope=row] a").count() > 30
    inside = page.evaluate(
        "() => { const frame = document.querySelector('.claims-frame').getBoundingClientRect();"
        " return [...document.querySelectorAll('table.claims td, table.claims th')].every("
        "c => !c.offsetWidth || c.getBoundingClientRect().right <= frame.right + 1) }")
    sizes = page.evaluate(
        "() => [...document.querySelectorAll('table.claims small, table.claims th, "
        "table.claims text')].map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert inside and min(sizes) >= 12
    visit.context.close()
    assert visit.trouble == []


# Of the elements, how many have no line of their own colour: not drawn at all, or unseen.
UNDRAWN = """elements => elements.filter(e => {
    const stroke = getComputedStyle(e).stroke;
    return stroke === 'none' || stroke === getComputedStyle(document.body).backgroundColor;
}).length"""
PLAIN = [pytest.param((width, scheme), id=f"{width}-{scheme}")
         for width in WIDTHS for scheme in ("light", "dark")]


@pytest.fixture(params=PLAIN)
def plain(request, browser, pages: Path) -> Iterator[Callable[[str], Visit]]:
    """Opens a page without scripts, for both widths and both wishes of a reader's system."""
    visits: list[Visit] = []

    def visit(name: str) -> Visit:
        seen = Visit(browser, pages, name, *request.param, scripts=False)
        visits.append(seen)
        assert seen.page.evaluate(f"() => {THEME}") == "light"  # the one it can have
        assert seen.overflow() <= 0  # axe is a script; the colours are those with scripts
        return seen

    yield visit
    for seen in visits:
        seen.context.close()
        assert seen.trouble == []


def all_visible(found) -> bool:
    return all(element.is_visible() for element in found.all())


def test_the_front_page_is_whole_without_scripts(plain: Callable[[str], Visit]) -> None:
    """Strip, cards, chips and the ways through the book are there to be seen."""
    page = plain("book/intro").page
    pictures = page.locator(".front-strip img, .card-paper img")
    assert pictures.count() == page.locator(".front-strip li").count() + len(chapters.find())
    assert all_visible(pictures) and pictures.evaluate_all(
        "all => all.every(i => i.complete && i.naturalWidth > 100 && i.offsetHeight > 50)")
    chips = page.locator(".card-paper .chip")
    assert chips.count() == sum(len(front.verdicts(s)) for s in chapters.find())
    told = {text: page.locator(f".chip-{text}").first.evaluate("c => getComputedStyle(c).color")
            for text in ("holds", "open", "opposite")}
    assert all_visible(chips) and len(set(told.values())) == 3
    ways = page.locator("#four-short-ways-through-the-book li")
    assert ways.count() == 4 and all_visible(ways)
    assert ways.locator("a").count() >= 12 and all_visible(ways.locator("a"))
    for other in ("claims.html", "lineage.html"):
        assert page.locator(f'main article a[href="{other}"]').first.is_visible()


def test_the_map_is_whole_without_scripts(plain: Callable[[str], Visit]) -> None:
    """Names link, lines are drawn, and the list below says the same; a link works."""
    page = plain("book/lineage").page
    names, lines = page.locator("svg.lineage a"), page.locator("svg.lineage > path")
    assert names.count() == len(chapters.find()) and all_visible(names)
    assert lines.count() > 20 and lines.evaluate_all(UNDRAWN) == 0
    words = page.locator("main article ul:not(.lineage-legend) > li")
    assert words.count() == len(PAPERS) and all_visible(words)
    names.first.click()
    page.wait_for_url("**/hed.html")


def test_the_claims_are_whole_without_scripts(plain: Callable[[str], Visit]) -> None:
    """Each row shows its name, its numbers, its interval and its verdict."""
    page = plain("book/claims").page
    rows = page.locator("table.claims tbody tr:not(.claim-axis)")
    assert rows.count() > 30 and all_visible(rows)
    for part in ("th a", ".claim-number", ".chip", "svg"):
        assert rows.locator(part).count() == rows.count() and all_visible(rows.locator(part))
    assert rows.locator("svg line").evaluate_all(UNDRAWN) == 0


def test_the_claims_print_below_their_introduction(browser, pages: Path) -> None:
    """The table begins on the first sheet; a row does not break."""
    visit = Visit(browser, pages, "book/claims")
    visit.page.emulate_media(media="print")
    assert visit.page.evaluate(WHOLE) == []
    row = visit.page.locator("table.claims tbody tr").nth(1)
    assert row.evaluate("e => getComputedStyle(e).breakInside") == "avoid"
    visit.context.close()


@pytest.mark.parametrize("name", ["book/intro", "book/lineage", "book/claims"])
def test_contrast_is_enough_on_a_phone(browser, pages: Path, name: str) -> None:
    """The front pages look different there, in each theme (test_pages asks the rest)."""
    for scheme in ("light", "dark"):
        visit = Visit(browser, pages, name, 390, scheme)
        assert visit.page.evaluate(f"() => {THEME}") == scheme
        assert visit.axe(contrast=True) == []
        visit.context.close()


def test_the_poster_of_the_readme_shows_every_chapter() -> None:
    made, readme = front.poster(), (chapters.root() / "README.md").read_text("utf8")
    (shown,) = re.findall(r"!\[[^]]{20,}\]\((assets/[\w.]+)\)", readme)
    stored = Image.open(chapters.root() / shown)
    assert stored.size == made.size and (chapters.root() / shown).stat().st_size < 400_000
    tiles = [made.crop((180 * x, 200 * y, 180 * x + 174, 200 * y + 174))
             for y in range(5) for x in range(5)]
    assert len(tiles) == len(chapters.find())
    assert all(max(high - low for low, high in tile.getextrema()) > 60 for tile in tiles)
