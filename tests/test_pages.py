"""Every page of the book in a real browser, from file:// and without a network."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml


ROOT = Path(__file__).resolve().parent.parent

WIDTHS = {1280: 900, 390: 844}  # a laptop and a phone, in CSS pixels
PAGE_BYTES = 1_500_000  # a page with its pictures
FRAME_BYTES = 1_400_000  # styles, scripts and fonts that it loads besides,
FORMULA_BYTES = 950_000  # and those of MathJax, where there are formulas
SEVERE = ("serious", "critical")
THEME = "document.documentElement.dataset.theme"
# What would keep a code cell or a long table on one sheet and leave the one before half empty.
WHOLE = """() => [...document.querySelectorAll(
        'article .cell_input pre, article table.claims')].flatMap(e => {
    const found = [];
    if (!e.offsetHeight) return found;
    for (; e.tagName !== 'ARTICLE'; e = e.parentElement) {
        const s = getComputedStyle(e);
        if (s.breakInside === 'avoid' || s.overflow !== 'visible' || s.display === 'flex')
            found.push(e.className || e.tagName);
    }
    return found;
})"""


def documents() -> list[str]:
    """List the documents of _toc.yml, in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    chapters = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    return [toc["root"], *chapters]


def notebooks() -> list[str]:
    """List the documents of _toc.yml that are notebooks."""
    return [d for d in documents() if (ROOT / f"{d}.ipynb").exists()]


def axe_script() -> str:
    """Return the axe accessibility checker that axe-playwright-python brings."""
    import axe_playwright_python

    path = Path(axe_playwright_python.__file__).with_name("axe.min.js")
    return path.read_text(encoding="utf8")


class Visit:
    """One page open at one width, with what it loaded and what went wrong on it so far."""

    def __init__(self, browser, pages: Path, name: str, width: int = 1280,
                 scheme: str = "light", scripts: bool = True) -> None:
        self.name, self.width, self.scripts = name, width, scripts
        self.context = browser.new_context(
            viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme,
            reduced_motion="reduce", java_script_enabled=scripts)
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.loaded: set[Path] = set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda e: self.trouble.append(f"page error: {e}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.page.goto((pages / f"{name}.html").as_uri(), wait_until="load")
        if scripts:
            self.page.wait_for_selector("body[data-ready]", state="attached")

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.trouble.append(f"console {message.type}: {message.text}")

    def _request(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.trouble.append(f"request to another host: {request.url}")
        elif request.url.startswith("file:"):
            self.loaded.add(Path(unquote(urlsplit(request.url).path)))

    def _failed(self, request) -> None:
        if self.scripts or request.resource_type != "script":  # those are refused, as wished
            self.trouble.append(f"failed request: {request.url} ({request.failure})")

    def axe(self, contrast: bool = False) -> list[str]:
        """Return axe's serious and critical findings, one line each.

        Contrast, the slow rule, is asked for on its own and not inside code, whose
        colours are those of one accessible style on all pages.
        """
        self.page.evaluate(axe_script())
        where = {"exclude": [["div.highlight pre"]]} if contrast else {}
        rules = ({"runOnly": ["color-contrast"]} if contrast else
                 {"rules": {"color-contrast": {"enabled": False}}})
        found = self.page.evaluate(
            "([where, rules]) => axe.run({include: [['html']], ...where}, {...rules, "
            "resultTypes: ['violations'], preload: false})",  # it cannot read file:// styles
            [where, rules])
        return [
            f"{v['impact']} {v['id']}: {n['html'][:160]} | {n['failureSummary'][:240]}"
            for v in found["violations"] if v["impact"] in SEVERE for n in v["nodes"]
        ]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.page.evaluate("() => document.documentElement.scrollWidth "
                                  "- document.documentElement.clientWidth")


def page_marks(name: str) -> list:
    """The long pages of chapters come first."""
    return [pytest.mark.weight(300 if name.count("/") == 2 else 200)]


@pytest.fixture(scope="module", params=[
    pytest.param((name, width), id=f"{name}-{width}", marks=page_marks(name))
    for name in [*documents(), "search", "genindex"] for width in WIDTHS
])
def seen(request, browser, pages: Path) -> Iterator[Visit]:
    """Each page at each width, loaded once for all the tests that look at it."""
    name, width = request.param
    visit = Visit(browser, pages, name, width)
    yield visit
    visit.context.close()


@pytest.fixture
def front(browser, pages: Path) -> Iterator[Visit]:
    """The first page, freshly opened, for the tests that leave it or change it."""
    visit = Visit(browser, pages, documents()[0])
    yield visit
    visit.context.close()


def test_page_fits_the_window(seen: Visit) -> None:
    """The page does not scroll sideways: what is wide scrolls inside itself."""
    assert seen.page.title()
    assert seen.overflow() <= 0


def test_solutions_unfold(seen: Visit) -> None:
    """Solutions and hidden code open on a click, and the page still fits the window."""
    for fold in seen.page.locator("main button.toggle-button").all():
        fold.click()
    closed = seen.page.locator("main details:not([open]) > summary")
    for _ in range(closed.count()):
        closed.first.click()  # an open one no longer matches
    assert closed.count() == 0
    assert seen.page.locator("main .toggle-hidden").count() == 0
    assert seen.overflow() <= 0


def test_axe_has_no_serious_finding(seen: Visit) -> None:
    """No finding at either width; contrast is looked at once in each theme."""
    assert seen.axe() == []
    if seen.width == max(WIDTHS):
        for theme in ("dark", "light"):
            seen.page.emulate_media(color_scheme=theme)
            seen.page.wait_for_function(f"() => {THEME} === '{theme}'")
            assert seen.axe(contrast=True) == [], theme


def test_pictures_and_formulas_are_drawn(seen: Visit) -> None:
    """Each picture loads and has an alternative text; each formula became glyphs."""
    for image in seen.page.locator("main img").all():
        image.evaluate("i => { i.loading = 'eager'; return i.decode() }")
        assert len(image.get_attribute("alt") or "") >= 8
    formulas = seen.page.locator(".math").count()
    assert seen.page.locator(".math mjx-container").count() >= formulas
    assert seen.page.locator("mjx-merror").count() == 0


def test_formulas_are_whole(seen: Visit) -> None:
    """No display formula is cut, nor set smaller than can be read (assets/book.js)."""
    cut = seen.page.evaluate("""() => [...document.querySelectorAll(
        'main mjx-container[display]')].filter(e => e.offsetParent
        && e.scrollWidth > e.clientWidth + 1).map(e => e.closest('[id]')?.id
        + ': ' + e.scrollWidth + ' in ' + e.clientWidth + ' pixels')""")
    assert cut == []


def test_page_loads_only_what_it_uses(seen: Visit) -> None:
    """Besides the page and its pictures: one style, few scripts, MathJax for formulas."""
    weights = {file: file.stat().st_size for file in seen.loaded
               if file.suffix != ".html" and "_images" not in file.parts}
    assert {".css", ".js", ".woff2"} <= {file.suffix for file in weights}
    mathjax = sum(weight for file, weight in weights.items() if "mathjax" in file.parts)
    formulas = seen.page.locator(".math").count() > 0
    assert (mathjax > 0) == formulas and mathjax <= FORMULA_BYTES
    assert sum(weights.values()) - mathjax <= FRAME_BYTES, weights


def test_terms_explain_themselves(seen: Visit) -> None:
    """A term of the glossary shows its definition on hover and on focus."""
    terms = seen.page.locator('main p a.reference.internal[href*="#term-"]')
    note = seen.page.locator("#term-note")
    if terms.count() == 0:
        assert not note.is_visible()
        return
    term = terms.first
    term.hover()
    assert note.is_visible() and len(note.text_content()) > 20
    box = note.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= seen.width
    seen.page.mouse.move(0, 0)
    assert not note.is_visible()
    term.focus()
    assert note.is_visible() and term.get_attribute("aria-describedby") == "term-note"
    seen.page.keyboard.press("Escape")
    assert not note.is_visible()


def test_control_answers_the_keyboard(seen: Visit) -> None:
    """An arrow key shows another frame, with another alternative text."""
    if (ROOT / f"{seen.name}.ipynb").exists() and seen.name.count("/") == 2:
        assert seen.page.locator("figure.flipbook").count() > 0  # a chapter has one
    for figure in seen.page.locator("figure.flipbook").all():
        first = figure.locator("input").first
        before, kind = frame(figure), first.get_attribute("type")
        chosen = first if kind != "radio" else figure.locator("input:checked")
        chosen.focus()
        at_end = kind == "range" and first.input_value() == first.get_attribute("max")
        chosen.press({"range": "ArrowLeft" if at_end else "ArrowRight",
                      "radio": "ArrowRight", "checkbox": "Space"}[kind])
        after = frame(figure)
        assert all(before[part] != after[part] for part in before), (before, after)


def frame(figure) -> dict[str, str]:
    """Return picture, alternative text and written value of a control's visible frame."""
    shown = figure.locator("img:visible")
    assert shown.count() == 1
    return {"src": shown.get_attribute("src"), "alt": shown.get_attribute("alt"),
            "text": figure.locator("output").text_content()}


def test_page_raised_no_error(seen: Visit) -> None:
    """After all this: a clean console, no failed request, none to another host."""
    assert seen.trouble == []


@pytest.mark.parametrize("name", [pytest.param(d, marks=page_marks(d)) for d in
                                  documents() if d.count("/") == 2])
def test_chapter_prints_with_its_solutions_at_the_end(browser, pages: Path,
                                                      name: str) -> None:
    """At most 18 pages; each solution once, after the rest; the screen is as before."""
    visit = Visit(browser, pages, name)
    order = ("() => [...document.querySelectorAll('main .exercise, main div.solution')]"
             ".map(e => e.classList.contains('solution'))")
    before = visit.page.evaluate(order)
    visit.page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    printed = visit.page.evaluate(order)
    assert printed == sorted(before) and sum(printed) >= 3
    visit.page.emulate_media(media="print")
    assert visit.page.locator(".printed-solutions h2").is_visible()
    hidden = visit.page.locator("div.solution > .sd-summary-content, div.solution section")
    assert all(part.is_visible() for part in hidden.all())
    assert visit.page.evaluate(WHOLE) == []
    paper = visit.page.pdf(format="A4", print_background=True)
    sheets = len(re.findall(rb"/Type\s*/Page\b(?!s)", paper))
    visit.page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    assert visit.page.evaluate(order) == before
    visit.context.close()
    assert 4 < sheets <= 18


@pytest.mark.parametrize("name", [d for d in documents() if d.count("/") == 2])
def test_chapter_is_whole_without_scripts(browser, pages: Path, name: str) -> None:
    """Solutions stand open, folds still open, formulas stand as LaTeX that fits a phone."""
    visit = Visit(browser, pages, name, 390, scripts=False)
    page = visit.page
    assert page.evaluate(f"() => {THEME}") == "light" and visit.overflow() <= 0
    for formula in page.locator("main .math:visible").all():
        text = formula.text_content()
        assert re.search(r"\\\(.+\\\)|\\\[.+\\\]", text, re.S), text
        assert formula.evaluate("e => e.scrollWidth <= e.clientWidth + 1 || !e.clientWidth")
    solutions = page.locator("main div.solution")
    assert solutions.count() >= 3 and solutions.evaluate_all(
        "all => all.every(s => [...s.children].some("
        "part => !part.matches('.admonition-title') && part.offsetHeight > 20))")
    for control in page.locator("figure.flipbook").all():
        assert len(frame(control)["text"]) > 0
    fold = page.locator("main details").first
    fold.locator("summary").click()
    assert fold.locator(":scope > :not(summary)").first.is_visible()
    visit.context.close()
    assert visit.trouble == []


@pytest.mark.parametrize("name", documents())
def test_page_weight(pages: Path, name: str) -> None:
    """A page and its pictures stay under the budget."""
    page = pages / f"{name}.html"
    text = page.read_text(encoding="utf8")
    files = {(page.parent / source).resolve()
             for source in re.findall(r'<img[^>]+src="([^"]+)"', text)
             if not source.startswith("data:")}
    weight = page.stat().st_size + sum(f.stat().st_size for f in files)
    assert weight <= PAGE_BYTES, f"{weight:,} bytes, {len(files)} pictures"


@pytest.mark.parametrize("name", notebooks())
def test_notebook_can_be_downloaded(pages: Path, name: str) -> None:
    """The download button of a chapter hands out the notebook itself."""
    page = pages / f"{name}.html"
    links = re.findall(r'<a href="([^"]+[.]ipynb)"[^>]*btn-download-source-button',
                       page.read_text(encoding="utf8"))
    assert len(links) == 1
    served = json.loads((page.parent / links[0]).resolve().read_text(encoding="utf8"))
    assert served == json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf8"))


def test_theme_button_changes_the_theme(front: Visit) -> None:
    """The button in the header leads from light to dark without a network."""
    themes = set()
    for _ in range(3):
        front.page.locator("button.theme-switch-button:visible").click()
        themes.add(front.page.evaluate(f"() => {THEME}"))
    assert themes == {"light", "dark"}
    assert front.trouble == []


def test_search_works_from_a_file(front: Visit) -> None:
    """A word typed into the search field finds a page."""
    front.page.locator(".search-button-field:visible").first.click()
    field = front.page.locator("input[type=search]:visible").first
    field.fill("network")
    field.press("Enter")
    front.page.wait_for_url("**/search.html?q=network*")
    results = front.page.locator("#search-results li a")
    results.first.wait_for(timeout=10_000)
    assert results.count() > 0
    assert front.trouble == []


def test_front_page_leads_to_the_introduction(browser, pages: Path) -> None:
    """index.html, the address that `make book` prints, leads to the first page."""
    visit = Visit(browser, pages, "index")
    visit.page.wait_for_url(f"**/{documents()[0]}.html")
    visit.context.close()
    assert visit.trouble == []
