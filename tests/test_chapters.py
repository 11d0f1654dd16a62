"""The notebooks: contract, stored evidence, and the code that the reader sees."""

import ast
import json
import math
import re
import statistics
from pathlib import Path

import nbformat
import pytest
import torch
from scipy import stats

import measure
import run
import tagged
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
    assert statistics.median(sizes) <= 8 and max(sizes) <= 30
    for cell in cells(slug, "code"):
        assert all(len(line) <= 88 for line in cell.source.splitlines()), cell.source
    words = sum(len(re.findall(r"\w+", c.source)) for c in cells(slug, "markdown"))
    assert words >= 6 * sum(sizes)


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
    controls = [c for c in cells(slug, "code") if 'type="range"' in html_of(c)]
    assert len(controls) == 1


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_unconfirmed_or_local_is_printed(slug: str) -> None:
    text = chapters.get(slug).path.read_text(encoding="utf8")
    assert not re.search(r"\[memory\]|TODO|FIXME|lorem ipsum", text)
    assert not re.search(r'"[^"]*(?:/home/|/root/|/work/|C:\\\\Users)', text)


@pytest.mark.parametrize("slug", SLUGS)
def test_no_chapter_defines_what_utils_has(slug: str) -> None:
    package = Path(evidence.__file__).parent
    shared = {
        node.name for file in package.rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf8")).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    tree = ast.parse("\n".join(c.source for c in cells(slug, "code")))
    own = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    assert not shared & set(own)
    assert len(own) == len(set(own)), "a name is defined twice"


@pytest.mark.parametrize("slug", SLUGS)
def test_evidence_was_measured_with_this_code(slug: str) -> None:
    stored = evidence.load(slug)
    assert stored, f"no evidence: make evidence CHAPTER={slug}"
    now = tagged.code_hash(slug)
    stale = {(r["source"], r["seed"]) for r in stored["rows"] if r["code"] != now}
    assert not stale, f"measured with other code: make evidence CHAPTER={slug}"
    generated = measure.default_source(slug)
    for source in evidence.sources(stored):
        seeds = [r["seed"] for r in stored["rows"] if r["source"] == source]
        assert seeds == list(range(len(seeds)))
        assert len(seeds) >= (5 if source == generated else 3)


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
    model = tagged.namespace(slug)["paper_scale"]()
    model = model if isinstance(model, torch.nn.Module) else next(iter(model.values()))
    assert all(p.is_meta for p in model.parameters())
    assert metrics.parameters(model) > 1e6


def test_measured_cells_end_at_the_claim_and_skip_figures() -> None:
    for slug in SLUGS:
        measured = tagged.measured_cells(chapters.get(slug).notebook)
        assert tagged.has_tag(measured[-1], "claim")
        assert not any(c.metadata.get("mystnb", {}).get("figure") for c in measured)


def sample(source: str) -> nbformat.NotebookNode:
    claim = nbformat.v4.new_code_cell(source, metadata={"tags": ["claim"]})
    after = nbformat.v4.new_code_cell("anything = 1")
    figure = nbformat.v4.new_code_cell(
        "draw()", metadata={"mystnb": {"figure": {"caption": "x"}}})
    return nbformat.v4.new_notebook(cells=[figure, claim, after])


def test_hash_ignores_comments_and_sees_code(tmp_path: Path, monkeypatch) -> None:
    def hashed(source: str) -> str:
        path = tmp_path / "x.ipynb"
        nbformat.write(sample(source), path)
        monkeypatch.setattr(chapters, "get", lambda slug: chapters.Chapter(slug, "", path))
        return tagged.code_hash("x")

    assert hashed("a = 1\nb = a + 2") == hashed("a = 1  # one\n\nb = (a\n     + 2)")
    assert hashed("a = 1") != hashed("a = 2")


def test_unknown_chapter_lists_the_known(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match=", ".join(SLUGS[:1])):
        chapters.get("nope")
    assert run.main(["nope"]) == 2
    assert measure.main(["nope"]) == 2
    assert capsys.readouterr().err.count(SLUGS[0]) == 2
    assert measure.main([SLUGS[0], "--seeds", "1"]) == 2


def test_failed_run_leaves_the_notebook(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.ipynb"
    nbformat.write(sample("1 / 0"), path)
    before = path.read_bytes()
    chapter = chapters.Chapter("x", "", path)
    monkeypatch.setattr(chapters, "get", lambda slug: chapter)
    assert run.main(["x"]) == 1
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_atomic_write_leaves_nothing_half_written(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    run.write_atomically(target, "old")
    with pytest.raises(TypeError):
        run.write_atomically(target, 3)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


ROWS = [{"seed": s, "source": "made", "baseline": b, "method": m, "more": {"third": t}}
        for s, (b, m, t) in enumerate([(1.0, 1.5, 0.0), (2.0, 2.7, 1.0), (3.0, 3.3, 2.0)])]
STORED = {"chapter": "x", "metric": "F", "better": "higher", "method_name": "new",
          "baseline_name": "old", "rows": ROWS}


def test_summary_by_hand() -> None:
    """Differences .5, .7, .3: mean .5, s = .2, t(.975, 2) = 4.3027, half width .4968."""
    summary = evidence.summarise(STORED, "made")
    assert summary.difference == pytest.approx(0.5)
    assert summary.low == pytest.approx(0.5 - 0.4968, abs=1e-4)
    assert summary.verdict == "better"
    lower = evidence.summarise(STORED | {"better": "lower"}, "made")
    assert lower.verdict == "worse" and lower.gain[0] == pytest.approx(-0.5)
    other = evidence.summarise(STORED, "made", "new", "third")
    assert other.difference == pytest.approx(1.5)
    with pytest.raises(ValueError, match="no arm"):
        evidence.summarise(STORED, "made", "nothing")
    with pytest.raises(ValueError, match="no rows"):
        evidence.summarise(STORED, "elsewhere")


def test_a_source_without_an_arm_is_left_out(monkeypatch) -> None:
    rows = [r | {"source": "real", "more": {}} for r in ROWS]
    monkeypatch.setattr(evidence, "load", lambda slug: STORED | {"rows": ROWS + rows})
    shown = evidence.show("x", also={"other": ("new", "third")}).rows
    assert [(r[0], r[1]) for r in shown] == [
        ("the claim", "made"), ("the claim", "real"), ("other", "made")]
    arms = {row[0]: row[1:] for row in evidence.show_arms("x").rows}
    assert arms["third"] == ["1.000 ± 1.000", "-"] and "-" not in arms["new"]


def test_record_refuses_what_is_no_result() -> None:
    good = {"metric": "F", "better": "higher", "baseline": 1.0, "method": 2.0,
            "baseline_name": "a", "method_name": "b"}
    data, metadata = evidence.Record(**good)._repr_mimebundle_()
    assert "2.000" in data["text/html"]
    assert json.loads(json.dumps(metadata))[evidence.KEY]["method"] == 2.0
    with pytest.raises(ValueError, match="finite"):
        evidence.Record(**good | {"method": math.nan})
    with pytest.raises(ValueError, match="higher"):
        evidence.Record(**good | {"better": "more"})


def test_record_is_read_back_from_outputs() -> None:
    notebook = sample("x")
    with pytest.raises(ValueError, match="found 0"):
        measure.read_record(notebook)
    notebook.cells[1].outputs = [nbformat.v4.new_output(
        "execute_result", {}, metadata={evidence.KEY: {"method": 1}})]
    assert measure.read_record(notebook) == {"method": 1}


def test_forest_draws_every_stored_claim() -> None:
    count = sum(len(evidence.sources(evidence.load(slug))) for slug in SLUGS)
    space: dict = {}
    for tag in ("setup", "forest"):  # the code that the reader of the claims page sees
        exec(tagged.code("claims", tag), space)
    ax = space["forest"](space["lines"]).axes[0]
    assert len(ax.get_yticks()) == count
    assert len(space["overview"](space["lines"]).rows) == count


def test_measuring_goes_on_where_it_stopped(tmp_path: Path, monkeypatch) -> None:
    """Rows of the present code are kept, stale rows of that source are replaced."""
    slug, now = SLUGS[0], tagged.code_hash(SLUGS[0])
    record = {"metric": "F", "better": "higher", "baseline_name": "a", "method_name": "b"}
    asked = []

    def measured(slug: str, seed: int, source: str) -> dict:
        asked.append(seed)
        return {"seed": seed, "source": source, "baseline": 1.0, "method": 2.0, "more": {},
                "parameters": {}, "seconds": 1.0, "code": now, "_record": record}

    monkeypatch.setattr(evidence, "path", lambda slug: tmp_path / "x.json")
    monkeypatch.setattr(measure, "measure", measured)
    old = [{"seed": 0, "source": "made", "code": now}, {"seed": 1, "source": "made",
            "code": "stale"}, {"seed": 0, "source": "else", "code": "stale"}]
    (tmp_path / "x.json").write_text(json.dumps(record | {"rows": old}))
    measure.run(slug, 3, "made")
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert asked == [1, 2]
    assert [(r["source"], r["seed"], r["code"]) for r in rows] == [
        ("else", 0, "stale"), *(("made", k, now) for k in range(3))]
