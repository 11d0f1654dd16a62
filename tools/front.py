"""Front page, claims and map of the papers, from `book/papers.yml` and the chapters' files.

Command line: `python tools/front.py` draws the poster of README.md anew (assets/readme.jpg).
"""

import base64
import io
import math
import re
from dataclasses import dataclass
from functools import cache
from html import escape

import yaml
from PIL import Image, ImageDraw, ImageFont

from utils import chapters, evidence

FILE = "book/papers.yml"
HEIGHT = 240  # pixels of a card's picture
GAP = 6  # pixels between its panels
WORDS, LINES = 220, 20  # words of prose and lines of code that are read in a minute
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}  # tags
CHIPS = {"better": "holds", "worse": "opposite", "no difference shown": "not shown"}
TINTS = {"dense-prediction": 210, "edges": 28, "recognition": 130, "efficiency": 285,
         "detection": 345, "video-and-matting": 178}  # hues of the parts, degrees
ROW, LEFT, COLUMN, SIDE = 34, 58, 276, 424  # pixels of the map: a row, where names begin,
CAPITAL, SMALL = 10.6, 8.2  # where arcs begin, the whole width; at most a letter's width
ENDS, BAR = (-2.6, 3.6), 204  # of the axis of gains, see `_along`; its width in pixels
TICKS = (-100, -10, 0, 10, 100, 1000)  # per cent
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August",
          "September", "October", "November", "December")


@dataclass(frozen=True)
class Paper:
    """One paper of the list; `chapter` is None until its notebook stands."""

    slug: str
    name: str
    part: str
    date: str  # year-month
    line: str
    picture: dict | None
    took: tuple[str, ...]
    beside: tuple[str, ...]
    marks: dict[str, str]  # data set -> what a reader should know of the claim on it
    chapter: chapters.Chapter | None

    @property
    def page(self) -> str | None:
        """The chapter's page, seen from the front page."""
        return f"{self.part}/{self.slug}.html" if self.chapter else None


def _listed() -> dict:
    return yaml.safe_load((chapters.root() / FILE).read_text(encoding="utf8"))


@cache
def papers() -> dict[str, Paper]:
    """All papers in the book's order; ValueError for a name, part or slug that is unknown."""
    listed, standing = _listed(), chapters.find()
    found = {}
    for slug, told in listed["papers"].items():
        chapter = standing.get(slug)
        unknown = [s for key in ("took", "beside") for s in told.get(key, ())
                   if s not in listed["papers"]]
        if unknown or told["part"] not in listed["parts"]:
            raise ValueError(f"{FILE}: {slug} names unknown {unknown or told['part']}")
        line = chapter.notebook.metadata["book"]["claim"] if chapter else told.get("line")
        if not line:
            raise ValueError(f"{FILE}: {slug} has no chapter and no line")
        found[slug] = Paper(slug, told["name"], told["part"], str(told["date"]), line,
                            told.get("picture"), tuple(told.get("took", ())),
                            tuple(told.get("beside", ())), told.get("marks", {}), chapter)
    return found


def parts() -> dict[str, str]:
    """The parts of the book: folder -> name."""
    return _listed()["parts"]


def minutes(chapter: chapters.Chapter) -> int:
    """Minutes that a reader needs: prose, and the code that is not folded."""
    prose, lines, solution = "", 0, False
    for cell in chapter.notebook.cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"(\{solution-(?:start|end)\})", cell.source):
                if part.startswith("{solution-"):
                    solution = "start" in part  # folded on the page until its end
                elif not solution:
                    prose += part + "\n"
        elif not solution and not FOLDED & set(cell.metadata.get("tags", ())):
            lines += sum(1 for line in map(str.strip, cell.source.splitlines())
                         if line and not line.startswith(("#", "%")))
    prose = re.sub(r"```.*?```|\$\$.*?\$\$|<[^>]+>|\{cite\w*\}`[^`]*`", " ", prose, flags=re.S)
    return round(len(re.findall(r"\w+(?:[-'’]\w+)*", prose)) / WORDS + lines / LINES)


def figure(slug: str, name: str) -> tuple[Image.Image, str]:
    """A stored figure of a chapter and its alternative text; ValueError without it."""
    chapter = chapters.get(slug)
    for cell in chapter.notebook.cells:
        about = cell.metadata.get("mystnb", {})
        if about.get("figure", {}).get("name") == name:
            found = [o["data"]["image/png"] for o in cell.outputs
                     if "image/png" in o.get("data", {})]
            if found:
                image = Image.open(io.BytesIO(base64.b64decode(found[0])))
                return image.convert("RGB"), " ".join(about["image"]["alt"].split())
    raise ValueError(f"{chapter.path}: no stored figure {name!r}; run the chapter")


def panels(slug: str, name: str, boxes: list[list[int]], height: int = HEIGHT) -> str:
    """Panels of a stored figure side by side, as the address of a picture (data:)."""
    image, _ = figure(slug, name)
    for box in boxes:
        left, top, right, bottom = box
        if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
            raise ValueError(f"{FILE}: panel {box} lies outside of {name} "
                             f"({image.width} x {image.height})")
    cut = [image.crop(tuple(box)) for box in boxes]
    cut = [c.resize((round(c.width * height / c.height), height), Image.Resampling.LANCZOS)
           for c in cut]
    width = sum(c.width for c in cut) + GAP * (len(cut) - 1)
    sheet = Image.new("RGB", (width, height), "white")
    left = 0
    for c in cut:
        sheet.paste(c, (left, 0))
        left += c.width + GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "webp", quality=82, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def verdicts(slug: str) -> list[tuple[str, str]]:
    """Word and data set of a chapter's claim, for each set that it was measured on."""
    stored = evidence.load(slug)
    sources = evidence.sources(stored) if stored else []
    return [(CHIPS.get(evidence.summarise(stored, s).verdict, "one run"), s) for s in sources]


def _kind(word: str) -> str:
    """The class of a verdict's colour: holds, opposite, or open for all others."""
    return word if word in ("holds", "opposite") else "open"


def chips(slug: str) -> str:
    """The verdicts as HTML."""
    return "".join(
        f'<span class="chip-pair"><span class="chip chip-{_kind(word)}">{word}</span> '
        f"{escape(source)}</span> "
        for word, source in verdicts(slug))


def card(paper: Paper) -> str:
    """One card of the gallery as HTML."""
    if paper.chapter is None:
        return (f'<li class="card-paper card-quiet"><h4>{escape(paper.name)}</h4>'
                f'<p>{escape(paper.line)}</p><p class="card-foot">to come</p></li>')
    if paper.picture is None:
        raise ValueError(f"{FILE}: {paper.slug} stands and has no picture")
    source = panels(paper.slug, paper.picture["figure"], paper.picture["panels"])
    ran = chapters.last_runs().get(paper.slug)
    seconds = f" · runs in {ran['seconds']:.0f} s" if ran else ""
    panel = "two panels" if len(paper.picture["panels"]) > 1 else "one panel"
    return (f'<li class="card-paper"><img src="{source}" alt="{escape(paper.name)}: {panel} of '
            'a figure of the chapter">'
            f'<h4><a href="{paper.page}">{escape(paper.name)}</a></h4>'
            f"<p>{escape(paper.line)}</p>"
            f'<p class="card-foot">{chips(paper.slug)}<span>{minutes(paper.chapter)} min to '
            f"read{seconds}</span></p></li>")


def gallery() -> str:
    """All papers as cards, by part, as HTML."""
    groups = []
    for folder, name in parts().items():
        cards = "".join(card(p) for p in papers().values() if p.part == folder)
        groups.append(f'<h3 class="gallery-part">{escape(name)}</h3>'
                      f'<ul class="gallery">{cards}</ul>')
    return "".join(groups)


def strip() -> str:
    """One photograph as several chapters see it, as HTML."""
    cells = []
    for step in _listed()["strip"]:
        source = panels(step["chapter"], step["figure"], [step["panel"]])
        paper = papers()[step["chapter"]]
        cells.append(f'<li><a href="{paper.page}"><img src="{source}" '
                     f'alt="{escape(step["says"])}, by {escape(paper.name)}">'
                     f'<span>{escape(step["says"])}</span></a></li>')
    return f'<ol class="front-strip">{"".join(cells)}</ol>'


def tally() -> dict[str, int]:
    """How many chapters' claims hold, are not shown, or go the other way, by their words.

    A chapter counts once: "mixed" where its data sets disagree.
    """
    count = {"holds": 0, "not shown": 0, "opposite": 0, "mixed": 0}
    for slug in chapters.find():
        words = {word for word, _ in verdicts(slug)} - {"one run"}
        if words:
            count[words.pop() if len(words) == 1 else "mixed"] += 1
    return count


def told_tally() -> str:
    """The tally as one paragraph of HTML."""
    count, standing = tally(), len(chapters.find())
    return (f'<p class="front-tally">{standing} of the {len(papers())} chapters stand. '
            f'The claim that a chapter puts to the test <b>holds</b> in {count["holds"]}, is '
            f'<b>not shown</b> in {count["not shown"]}, goes the <b>opposite</b> way in '
            f'{count["opposite"]}, and depends on the pictures in {count["mixed"]}.</p>')


def _along(gain: float) -> float:
    """Where a gain in per cent lies on the axis: linear to 10 %, logarithmic beyond."""
    size = abs(gain) / 10
    place = math.copysign(size if size <= 1 else 1 + math.log10(size), gain)
    low, high = ENDS
    return BAR * (min(max(place, low), high) - low) / (high - low)


def _axis() -> str:
    """The numbers of the axis, as one row of the table."""
    numbers = "".join(f'<text x="{_along(t):.0f}" y="13" text-anchor="middle">{t}</text>'
                      for t in TICKS)
    return (f'<svg class="claim-bar" viewBox="0 0 {BAR} 18" width="{BAR}" height="18" '
            f'aria-hidden="true">{numbers}</svg>')


def _bar(summary: evidence.Summary, word: str) -> str:
    """The gain of one claim with its interval, in per cent of the baseline's mean."""
    gain, low, high = (100 * v / abs(summary.baseline) for v in summary.gain)
    ends = "" if math.isnan(low) else (
        f'<line x1="{_along(low):.1f}" x2="{_along(high):.1f}" y1="11" y2="11"/>')
    said = f"{gain:+.1f} per cent" + ("" if math.isnan(low) else f", {low:+.1f} to {high:+.1f}")
    return (f'<svg class="claim-bar of-{_kind(word)}" viewBox="0 0 {BAR} 22" width="{BAR}" '
            f'height="22" role="img" aria-label="gain {said}">'
            f'<line class="zero" x1="{_along(0):.1f}" x2="{_along(0):.1f}" y1="0" y2="22"/>'
            f'{ends}<circle cx="{_along(gain):.1f}" cy="11" r="4.5"/></svg>')


def claims() -> str:
    """Every stored claim as one row of a table, as HTML; stacked on a narrow screen."""
    rows = []
    for slug, paper in papers().items():
        stored = evidence.load(slug) if paper.chapter else None
        for source in evidence.sources(stored) if stored else []:
            s = evidence.summarise(stored, source)
            word = CHIPS.get(s.verdict, "one run")
            items = evidence.rows_of(stored, source)[0].get("items")
            scored = f", {items:,} scored" if items else ""
            lower = " (lower is better)" if stored["better"] == "lower" else ""
            known = f"<small>{s.low:+.3f} to {s.high:+.3f}</small>" if s.seeds > 1 else ""
            mark = paper.marks.get(source)
            mark = f'<span class="claim-mark">{escape(mark)}</span>' if mark else ""
            rows.append(
                f'<tr><th scope="row"><a href="{paper.page}">{escape(paper.name)}</a><small>'
                f"{escape(stored['metric'])}{lower}: {escape(stored['method_name'])} "
                f"{s.method:.3f}, {escape(stored['baseline_name'])} {s.baseline:.3f}</small></th>"
                f"<td>{escape(source)}{mark}<small>{s.seeds} seeds{scored}</small></td>"
                f'<td class="claim-number">{s.difference:+.3f}{known}</td><td>{_bar(s, word)}</td>'
                f'<td><span class="chip chip-{_kind(word)}">{word}</span></td></tr>')
    axis = f'<tr class="claim-axis"><td colspan="3"></td><td>{_axis()}</td><td></td></tr>'
    head = "".join(f'<th scope="col">{name}</th>' for name in (
        "Chapter", "Pictures", "Difference", "Gain, % of the baseline", "Reads"))
    return (f'<div class="claims-frame"><table class="claims"><thead><tr>{head}</tr></thead>'
            f"<tbody>{axis}{''.join(rows)}{axis}</tbody></table></div>")


def _when(date: str) -> str:
    year, month = date.split("-")
    return f"{MONTHS[int(month) - 1]} {year}"


def _arc(high: tuple[float, float], low: tuple[float, float], longest: float) -> str:
    """A path from the end of one name (x, y) to that of a later one, the wider the longer."""
    (x, y), (end, below) = high, low
    reach = COLUMN + (SIDE - 8 - COLUMN) * ((below - y) / longest) ** 0.7
    pull = (8 * reach - 2 * COLUMN) / 6  # so that the middle of the curve lies at `reach`
    return (f"M{x:.0f} {y} H{COLUMN} C{pull:.0f} {y} {pull:.0f} {below} {COLUMN} {below} "
            f"H{end:.0f}")


def lineage(prefix: str = "") -> str:
    """The map as one SVG: time downwards, arrows from older papers to newer ones."""
    order = sorted(papers().values(), key=lambda p: (p.date, p.name))
    at = {p.slug: 30 + ROW * k for k, p in enumerate(order)}
    ends = {p.slug: (LEFT + sum(CAPITAL if c.isupper() else SMALL for c in p.name), at[p.slug])
            for p in order}
    out = []
    for paper in order:
        lines = [("took", s) for s in paper.took] + [("beside", s) for s in paper.beside]
        for kind, older in lines:
            high, low = sorted((ends[older], ends[paper.slug]), key=lambda end: end[1])
            arrow = ' marker-end="url(#lineage-arrow)"' if kind == "took" else ""
            out.append(f'<path class="{kind} of-{paper.slug} of-{older}" '
                       f'd="{_arc(high, low, ROW * len(order))}"{arrow}/>')
    year = ""
    for paper in order:
        y = at[paper.slug]
        if paper.date[:4] != year:
            year = paper.date[:4]
            out.append(f'<text class="year" x="2" y="{y + 5}">{year}</text>')
        name = f'<text x="{LEFT}" y="{y + 5}">{escape(paper.name)}</text>'
        dot = f'<circle cx="47" cy="{y}" r="5" style="--hue:{TINTS[paper.part]}"/>'
        title = f"<title>{escape(paper.name)}, {_when(paper.date)}</title>"
        if paper.page:
            out.append(f'<a class="at-{paper.slug}" href="{prefix}{paper.page}">{title}'
                       f'<rect x="38" y="{y - ROW // 2 + 2}" height="{ROW - 4}" rx="4" '
                       f'width="{ends[paper.slug][0] - 38:.0f}"/>{dot}{name}</a>')
        else:
            out.append(f'<g class="at-{paper.slug} absent">{title}{dot}{name}</g>')
    rules = "".join(f".lineage:has(.at-{s}:is(:hover,:focus)) path:not(.of-{s}){{opacity:.12}}"
                    for s in at)
    high = 30 + ROW * len(order)
    return (
        f'<svg class="lineage" viewBox="0 0 {SIDE} {high}" role="group" '
        'aria-label="The papers by date, with lines to those that they build on; '
        'the list below says the same">'
        f"<style>{rules}</style>"
        '<defs><marker id="lineage-arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(out)}</svg>")


def legend() -> str:
    """The colours of the parts and the two kinds of lines, as HTML."""
    dots = "".join(f'<li><i style="--hue:{TINTS[f]}"></i>{escape(n)}</li>'
                   for f, n in parts().items())
    return (f'<ul class="lineage-legend">{dots}<li><b class="took"></b>builds on</li>'
            '<li><b class="beside"></b>another answer to the same question</li></ul>')


def lineage_list() -> list[str]:
    """The map in words, a Markdown list."""
    known, lines = papers(), []
    for paper in sorted(known.values(), key=lambda p: (p.date, p.name)):
        name = paper.name
        if paper.chapter:
            name = f"[{name}]({paper.part}/{paper.slug}.ipynb)"
        said = [f"{word} {', '.join(known[s].name for s in slugs)}"
                for word, slugs in (("builds on", paper.took), ("stands beside", paper.beside))
                if slugs]
        lines.append(f"- {name}, {_when(paper.date)}{': ' if said else ''}{'; '.join(said)}")
    return lines


def poster(tile: int = 174, columns: int = 5) -> Image.Image:
    """One square panel of each chapter with the paper's name below, in the book's order."""
    standing = [paper for paper in papers().values() if paper.chapter]
    row, font = tile + 26, ImageFont.load_default(13)
    high = -(-len(standing) // columns) * row
    sheet = Image.new("RGB", (columns * (tile + GAP) - GAP, high), "white")
    pen = ImageDraw.Draw(sheet)
    for number, paper in enumerate(standing):
        image, _ = figure(paper.slug, paper.picture["figure"])
        left, top, right, bottom = paper.picture["panels"][-1]
        side = min(right - left, bottom - top)
        cut = image.crop((left, top, left + side, top + side))
        x, y = number % columns * (tile + GAP), number // columns * row
        sheet.paste(cut.resize((tile, tile), Image.Resampling.LANCZOS), (x, y))
        pen.text((x + tile / 2, y + tile + 4), paper.name, "black", font, anchor="ma")
    return sheet


if __name__ == "__main__":
    file = chapters.root() / "assets/readme.jpg"
    poster().save(file, quality=88, optimize=True)
    print(f"wrote {file}")
