"""The notebooks: contract, stored evidence, and the code that the reader sees."""

import ast
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from scipy import stats

import tagged
from build import ROOT
from canonical import canonical, digest
from utils import chapters, evidence, metrics

SLUGS = list(chapters.find())
SECTIONS = [
    "The problem", "The idea", "The data", "The model", "Training",
    "What the network sees", "Does the claim hold?", "Try it", "Reduced here",
    "Where it leads", "Exercises", "References",
]


def cells(slug: str, kind: str) -> list:
    return [c for c in chapters.get(slug).notebook.cells if c.cell_type == kind]


def lines(cell) -> list[str]:
    return [line for line in cell.source.splitlines()
            if line.strip() and not line.strip().startswith("#")]


def html_of(cell) -> str:
    return "".join(o.get("data", {}).get("text/html", "") for o in cell.outputs)


@pytest.mark.parametrize("slug", SLUGS)
def test_sections_and_tags(slug: str) -> None:
    text = "\n".join(c.source for c in cells(slug, "markdown"))
    assert re.findall(r"^## (.+?)\s*$", text, re.M) == SECTIONS
    tags = {t for c in cells(slug, "code") for t in c.metadata.get("tags", [])}
    assert {"setup", "parameters", "model", "claim"} <= tags
    assert len(re.findall(r"\{exercise\}", text)) >= 3
    assert len(re.findall(r"\{solution(-start)?\}", text)) >= 3
    space: dict = {}
    exec(tagged.code(slug, "parameters"), space)
    assert {"seed", "steps", "width", "source"} <= set(space)


@pytest.mark.parametrize("slug", SLUGS)
def test_code_is_short_and_prose_outweighs_it(slug: str) -> None:
    sizes = [len(lines(c)) for c in cells(slug, "code")]
    shown = [len(lines(c)) for c in cells(slug, "code")
             if "hide-input" not in c.metadata.get("tags", [])]
    assert statistics.median(shown) <= 8 and max(sizes) <= 30
    for cell in cells(slug, "code"):
        assert all(len(line) <= 88 for line in cell.source.splitlines()), cell.source
    words = sum(len(re.findall(r"\w+", c.source)) for c in cells(slug, "markdown"))
    assert words >= 6 * sum(shown)


@pytest.mark.parametrize("slug", SLUGS)
def test_outputs_are_one_clean_run(slug: str) -> None:
    code = cells(slug, "code")
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert not [o for c in code for o in c.outputs if o.output_type == "error"]
    assert "widgets" not in chapters.get(slug).notebook.metadata
    assert chapters.get(slug).path.stat().st_size < 1.5e6
    run = chapters.last_runs()[slug]
    assert run["seconds"] <= 60 and run["peak_mb"] < 2000


@pytest.mark.parametrize("slug", SLUGS)
def test_every_figure_is_captioned_and_described(slug: str) -> None:
    figures = 0
    for cell in cells(slug, "code"):
        pictures = [o for o in cell.outputs if "image/png" in o.get("data", {})]
        if pictures:
            about = cell.metadata["mystnb"]
            assert len(pictures) == 1 and about["figure"]["caption"].strip()
            assert about["figure"]["name"].startswith(slug)
            assert len(about["image"]["alt"]) >= 20
            figures += 1
    assert figures >= 6
    controls = [c for c in cells(slug, "code") if 'class="flipbook"' in html_of(c)]
    assert len(controls) == 1


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_unconfirmed_or_local_is_printed(slug: str) -> None:
    text = re.sub(r"[A-Za-z0-9+/=\\n]{200,}", "",  # pictures
                  chapters.get(slug).path.read_text(encoding="utf8"))
    assert not re.search(r"\[memory\]|TODO|FIXME|lorem ipsum", text)
    assert not re.search(r'"[^"]*(?:/home/|/root/|/work/|C:\\\\Users)', text)


def definitions(tree: ast.AST) -> dict[str, str]:
    """Functions and classes of a module by name, each with its body as text."""
    return {n.name: ast.dump(ast.Module(n.body, [])) for n in tree.body
            if isinstance(n, (ast.FunctionDef, ast.ClassDef))}


def shape(body: str) -> str:
    """A body without the names that an author may choose: what copying leaves alike."""
    return re.sub(r"(id|arg|name|attr)='\w+'", r"\1", body)


@pytest.mark.parametrize("slug", SLUGS)
def test_no_chapter_defines_what_utils_has(slug: str) -> None:
    """No body of a function of utils under another name, no name of a layer or measure.

    A paper's own idea is written out in a cell tagged `model`, even where utils has it too.
    """
    package, shared, named = Path(evidence.__file__).parent, {}, set()
    for file in package.rglob("*.py"):
        found = definitions(ast.parse(file.read_text(encoding="utf8")))
        shared |= found
        if file.stem in ("blocks", "losses", "train", "imagenet") or "metrics" in file.parts:
            named |= found.keys()
    tree = ast.parse("\n".join(c.source for c in cells(slug, "code")))
    own = definitions(tree)
    paper = definitions(ast.parse(tagged.code(slug, "model")))
    assert not named & (own.keys() - paper.keys())
    copied = {shape(body) for body in shared.values() if len(body) > 400}
    assert [n for n, body in own.items() if n not in paper and shape(body) in copied] == []
    names = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    assert len(names) == len(set(names)), "a name is defined twice"


@pytest.mark.parametrize("slug", SLUGS)
def test_evidence_was_measured_with_this_code(slug: str) -> None:
    stored = evidence.load(slug)
    assert stored, f"no evidence: make evidence CHAPTER={slug}"
    now = tagged.code_hash(slug)
    stale = {(r["source"], r["seed"]) for r in stored["rows"] if r["code"] != now}
    assert not stale, f"measured with other code: make evidence CHAPTER={slug}"
    generated = tagged.parameters(slug)["source"]
    for source in evidence.sources(stored):
        seeds = [r["seed"] for r in stored["rows"] if r["source"] == source]
        assert seeds == list(range(len(seeds)))
        assert len(seeds) >= (5 if source == generated else 3)


@pytest.mark.parametrize("slug", SLUGS)
def test_the_page_is_a_row_of_the_evidence(slug: str) -> None:
    """The record on the page equals the stored row of its seed and source."""
    page = [o.metadata[evidence.KEY] for c in cells(slug, "code") for o in c.outputs
            if evidence.KEY in o.get("metadata", {})]
    assert len(page) == 1
    given, stored = tagged.parameters(slug), evidence.load(slug)
    row, = [r for r in stored["rows"]
            if (r["seed"], r["source"]) == (given["seed"], given["source"])]
    for key in ("baseline", "method", "more", "parameters", "items", "seconds"):
        assert page[0][key] == row[key], f"make run CHAPTER={slug}"
    assert page[0]["environment"].items() <= row.items()
    assert page[0]["environment"]["threads"] == 1
    assert stored["comparisons"] == page[0]["comparisons"]
    assert chapters.last_runs()[slug]["parameters"] == row["parameters"]


@pytest.mark.parametrize("slug", SLUGS)
def test_no_measured_cell_needs_a_figure(slug: str) -> None:
    """Figures are not part of the hash: a name that they bind must not be measured."""
    assert tagged.borrowed_from_figures(chapters.get(slug).notebook) == set()


@pytest.mark.parametrize("slug", SLUGS)
def test_summary_recomputed_from_its_rows(slug: str) -> None:
    stored = evidence.load(slug)
    for source in evidence.sources(stored):
        rows = [r for r in stored["rows"] if r["source"] == source]
        summary = evidence.summarise(stored, source)
        ours = [r["method"] - r["baseline"] for r in rows]
        low, high = stats.t.interval(0.95, len(rows) - 1, statistics.mean(ours),
                                     statistics.stdev(ours) / math.sqrt(len(rows)))
        assert summary.difference == pytest.approx(statistics.mean(ours))
        assert (summary.low, summary.high) == pytest.approx((low, high))


@pytest.mark.parametrize("slug", SLUGS)
def test_paper_scale_stays_off_the_memory(slug: str) -> None:
    made = tagged.namespace(slug)["paper_scale"]()  # a network, or several by name or in a row
    models = ([made] if isinstance(made, torch.nn.Module) else
              [*made.values()] if isinstance(made, dict) else [*made])
    assert all(p.is_meta for model in models for p in model.parameters())
    assert sum(map(metrics.parameters, models)) > 1e6


def sample(*cells: tuple[str, str]) -> nbformat.NotebookNode:
    """A notebook of code cells, each (kind, source); kind is a tag or "figure"."""
    made = []
    for kind, source in cells:
        figure = {"mystnb": {"figure": {"caption": "x"}}} if kind == "figure" else {}
        tags = {"tags": [kind] if kind else []}
        made.append(nbformat.v4.new_code_cell(source, metadata=figure | tags))
    return nbformat.v4.new_notebook(cells=made)


def test_measured_cells_are_those_that_decide_the_claim() -> None:
    """Neither figures, nor what tells of stored rows, nor what comes after the claim."""
    notebook = sample(("setup", "a = 1"), ("figure", "draw(a)"),
                      ("", "evidence.show('x')"), ("", "b = a + 1"),
                      ("claim", "evidence.Record(b)"), ("", "c = 3"))
    assert [c.source for c in tagged.measured_cells(notebook)] == [
        "a = 1", "b = a + 1", "evidence.Record(b)"]
    with pytest.raises(ValueError, match="tagged 'claim'"):
        tagged.measured_cells(sample(("", "a = 1")))


def test_borrowing_from_a_figure_is_seen() -> None:
    borrowed = tagged.borrowed_from_figures
    first = ("figure", "k = 3\ndraw(k)")
    assert borrowed(sample(first, ("", "print(k)"), ("claim", "1"))) == {"k"}
    assert borrowed(sample(first, ("", "def f():\n    return k"), ("claim", "1"))) == {"k"}
    assert borrowed(sample(first, ("", "k = 4\nprint(k)"), ("claim", "k"))) == set()
    assert borrowed(sample(("", "k = 1"), first, ("claim", "k"))) == set()
    assert borrowed(sample(first, ("", "[k for k in [1]]"), ("claim", "1"))) == set()
    assert borrowed(sample(first, ("claim", "1"), ("", "k"))) == set()


def test_cells_that_tell_of_evidence_need_nothing_else() -> None:
    def tells(source: str, kind: str = "") -> bool:
        return tagged.tells_evidence(sample((kind, source)).cells[0])

    assert tells("evidence.show('x')") and tells("print(evidence.verdict('x'))")
    assert not tells("evidence.Record(1)", "claim")
    assert not tells("evidence.Table('x', head, rows)")
    assert not tells("x = evidence.load('x')") and not tells("plots.bars({})")


def test_hash_ignores_comments_and_sees_code() -> None:
    assert digest(["a = 1\nb = a + 2"]) == digest(["a = 1  # one\n\nb = (a\n     + 2)"])
    assert digest(["a = 1"]) != digest(["a = 2"])
    assert digest(["f(None)"]) != digest(["f()"]) != digest(["f([])"])


def pythons() -> list[str]:
    """Every Python 3.11 or newer at hand, this one first."""
    found = [sys.executable]
    homes = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep)]
    homes += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    for minor in range(11, 20):
        for home in homes:
            if (home / f"python3.{minor}").exists():
                found.append(str(home / f"python3.{minor}"))
    return found


def test_hash_is_the_same_on_every_python() -> None:
    """All code of all chapters, hashed by each interpreter that this machine has."""
    script = ("import json, sys; sys.path.insert(0, sys.argv[1]); "
              "from canonical import digest; "
              "print(digest(json.load(sys.stdin)))")
    sources = [c.source for slug in SLUGS for c in cells(slug, "code")]
    seen = {}
    for python in pythons():
        done = subprocess.run([python, "-I", "-c", script, str(ROOT / "tools")],
                              input=json.dumps(sources), capture_output=True, text=True)
        if done.returncode and python != sys.executable:
            continue  # a launcher without its interpreter
        seen[python] = done.stdout.strip()
    assert set(seen.values()) == {digest(sources)}, seen


def test_hash_leaves_out_what_versions_differ_in() -> None:
    """3.12 puts an empty text into nested f-strings and type parameters into functions."""
    plain, odd = ast.parse("f'{v:{w}}'"), ast.parse("f'{v:{w}}'")
    odd.body[0].value.values[0].format_spec.values.append(ast.Constant(""))
    assert canonical(plain) == canonical(odd)
    function = ast.parse("def f(): pass")
    bare = canonical(function)
    function.body[0].type_params = []
    function.body[0].type_comment = None
    assert canonical(function) == bare
