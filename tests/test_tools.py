"""`make run` and `make evidence`: rows and pages that are stored together or not at all."""

import json
import os
from pathlib import Path

import nbformat
import pytest

import execution
import measure
import notebook_checks
import run
from utils import chapters, evidence

CLAIM = """\
from utils import evidence
evidence.Record(metric="F", better="higher", method_name="new", method=1.0 + seed,
                baseline_name="old", baseline=0.5, parameters={"both": 3},
                comparisons={"again": ("new", "old")})"""
CELLS = [("setup", "import os"), ("parameters", 'seed, source = 0, "made"\nsteps = 1'),
         ("claim", CLAIM), ("", 'evidence.show("mini")'),
         ("", 'print(os.environ["BOOK_STATIC"])')]


def notebook(*cells: tuple[str, str]) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell(source, metadata={"tags": [tag] if tag else []})
        for tag, source in cells])


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of one small chapter, `mini`, and of a page `data`; no second process."""
    (tmp_path / "book/part").mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text(
        "root: book/intro\nparts:\n- chapters:\n  - file: book/part/mini\n"
        "  - file: book/data\n")
    nbformat.write(notebook(*CELLS), tmp_path / "book/part/mini.ipynb")
    nbformat.write(notebook(("", "1 + 1")), tmp_path / "book/data.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(execution.Path(__file__).parent.parent))
    chapters.root.cache_clear()

    def one_by_one(work, jobs, expected):
        yield from ((i, work(*job)) for i, job in enumerate(jobs))

    monkeypatch.setattr(run, "side_by_side", one_by_one)
    monkeypatch.setattr(measure, "side_by_side", one_by_one)
    yield tmp_path
    chapters.root.cache_clear()


def stored(book: Path) -> tuple[nbformat.NotebookNode, dict]:
    return (nbformat.read(book / "book/part/mini.ipynb", as_version=4),
            json.loads((book / "book/evidence/mini.json").read_text()))


def test_run_stores_page_and_row_in_one_step(book: Path) -> None:
    assert run.main(["mini"]) == 0
    page, kept = stored(book)
    row, = kept["rows"]
    assert (row["seed"], row["source"], row["method"]) == (0, "made", 1.0)
    record = execution.read_record(page)
    assert record["environment"].items() <= row.items() and row["threads"] == 1
    assert kept["comparisons"] == {"again": ["new", "old"]}
    ran = chapters.last_runs()["mini"]
    assert ran["parameters"] == {"both": 3} and ran["peak_mb"] > 10
    assert 0 < row["seconds"] <= ran["seconds"] < 60
    assert [c.execution_count for c in page.cells] == [1, 2, 3, 4, 5]
    assert page.cells[4].outputs[0].text == "1\n"
    assert "1.000" in page.cells[3].outputs[0].data["text/plain"], "the row of this run"
    assert not list(book.rglob(".*.ipynb.*")) and not (book / run.PASS).exists()


def test_evidence_measures_the_other_seeds_and_tells_of_them(book: Path) -> None:
    run.main(["mini"])
    before = stored(book)[1]["rows"][0]
    assert measure.main(["mini", "--seeds", "3"]) == 0
    page, kept = stored(book)
    assert [r["method"] for r in kept["rows"]] == [1.0, 2.0, 3.0]
    assert kept["rows"][0] == before, "a valid row is kept"
    assert "| 3 |" in page.cells[3].outputs[0].data["text/plain"]
    assert measure.missing("mini", 4, "made") == [3]
    measure.main(["mini", "--seeds", "2", "--source", "real"])
    assert [(r["source"], r["seed"]) for r in stored(book)[1]["rows"]] == [
        ("made", 0), ("made", 1), ("made", 2), ("real", 0), ("real", 1)]


def test_changed_code_replaces_the_rows_of_its_source(book: Path) -> None:
    measure.main(["mini", "--seeds", "2"])
    changed = [(t, s.replace("1.0 + seed", "5.0 + seed")) for t, s in CELLS]
    nbformat.write(notebook(*changed), book / "book/part/mini.ipynb")
    assert measure.missing("mini", 2, "made") == [0, 1]
    assert run.main(["mini"]) == 0
    assert [r["method"] for r in stored(book)[1]["rows"]] == [5.0]


def test_prose_that_parts_from_the_rows_is_told(book: Path, capsys) -> None:
    wrong = [*CELLS, ("", 'evidence.says("mini", again="worse")')]
    nbformat.write(notebook(*wrong), book / "book/part/mini.ipynb")
    assert measure.main(["mini", "--seeds", "2"]) == 1
    assert "the prose says 'worse' of 'again', the rows say 'no difference" in \
        capsys.readouterr().err
    assert len(stored(book)[1]["rows"]) == 2, "what was measured is kept"


def test_a_failing_cell_leaves_everything_as_it_was(book: Path, capsys) -> None:
    run.main(["mini"])
    path = book / "book/part/mini.ipynb"
    nbformat.write(notebook(*CELLS, ("", "1 / 0")), path)
    before = path.read_bytes(), stored(book)[1]
    assert run.main(["mini"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert (path.read_bytes(), stored(book)[1]) == before


def test_an_edit_during_the_run_is_refused(book: Path) -> None:
    touch = ("from pathlib import Path\nimport nbformat\np = Path('mini.ipynb')\n"
             "n = nbformat.read(p, 4)\nn.cells[0].source += '\\n# edited'\n"
             "nbformat.write(n, p)")
    nbformat.write(notebook(*CELLS, ("", touch)), book / "book/part/mini.ipynb")
    with pytest.raises(RuntimeError, match="changed during the run"):
        execution.execute("mini")


def test_a_run_of_all_goes_on_where_it_was_broken_off(book: Path, monkeypatch,
                                                      capsys) -> None:
    done = []
    monkeypatch.setattr(run, "execute", lambda slug: done.append(slug) or real(slug))
    real = execution.execute
    (book / "_build").mkdir()
    (book / run.PASS).write_text(json.dumps({"mini": run.fingerprint("mini")}))
    assert run.main([]) == 0
    assert done == ["data"] and "Going on" in capsys.readouterr().out
    assert not (book / run.PASS).exists()
    (book / run.PASS).write_text(json.dumps({"mini": "another code"}))
    run.main([])
    assert done == ["data", "mini", "data"]


def test_files_are_written_together_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    execution.write_together({first: "old", second: "old"})
    with pytest.raises(TypeError):
        execution.write_together({first: "new", second: 3})
    assert first.read_text() == second.read_text() == "old"
    replace, calls = os.replace, []

    def broken(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no space")
        replace(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        execution.write_together({first: "new", second: "new"})
    assert first.read_text() == second.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def double(number: int) -> int:
    return 2 * number


def test_jobs_run_side_by_side_and_say_how_long(capsys) -> None:
    done = dict(execution.side_by_side(double, [(1,), (2,), (3,)], [5, 5, 5]))
    assert done == {0: 2, 1: 4, 2: 6}
    assert "2 of 3 done, about 1 min left" in capsys.readouterr().out


def test_unknown_chapter_lists_the_known(capsys: pytest.CaptureFixture) -> None:
    assert run.main(["nope"]) == 2
    assert measure.main(["nope"]) == 2
    assert capsys.readouterr().err.count("hed") == 2
    assert measure.main(["hed", "--seeds", "1"]) == 2


def test_record_is_read_back_from_outputs() -> None:
    page = notebook(("claim", "x"))
    with pytest.raises(ValueError, match="found 0"):
        execution.read_record(page)
    page.cells[0].outputs = [nbformat.v4.new_output(
        "execute_result", {}, metadata={evidence.KEY: {"method": 1}})]
    assert execution.read_record(page) == {"method": 1}
    assert execution.read_record(notebook(("", "x"))) is None


ROWS = [{"source": "made", "method": m, "baseline": 1.0, "more": {"latency, ms": m}}
        for m in (2.0, 3.0, 4.0)] + [{"source": "real", "method": 99.0, "baseline": 1.0,
                                      "more": {}}]


def record(method: float, processor: str = "here", **more: float) -> dict:
    return {"method": method, "baseline": 1.0, "more": more,
            "environment": {"processor": processor}}


@pytest.mark.parametrize("found, wrong", [
    (record(2.0), 0), (record(2.0000001), 1),          # the same machine: the same number
    (record(2.0000001, "there"), 0),                   # another one: near the rows
    (record(7.1, "there"), 1), (record(6.9, "there"), 0),  # mean 3, four deviations of 1
    (record(2.0, "there", new=1.0), 1),                # an arm that is not stored
])
def test_claim_is_compared_with_the_stored_rows(found: dict, wrong: int) -> None:
    assert len(notebook_checks.compare(found, record(2.0), ROWS)) == wrong


def test_no_posix_only_import_on_a_readers_path() -> None:
    """utils and tools import nothing that Windows lacks, unless they mind its absence."""
    import ast

    posix = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog"}
    root = Path(__file__).resolve().parent.parent
    found = []
    for file in [*root.glob("utils/**/*.py"), *root.glob("tools/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
            names = [a.name for a in getattr(node, "names", [])] if isinstance(
                node, ast.Import) else [getattr(node, "module", None) or ""]
            if isinstance(node, (ast.Import, ast.ImportFrom)) and posix & set(names):
                found.append(file.name)
    assert found == []
    assert "except ImportError:  # Windows" in execution.LAST_CELL


@pytest.mark.parametrize("test, where", [
    ("book/edges/hed.ipynb::Cell 3", "book/edges/hed.ipynb"),
    ("tests/test_pages.py::test_axe[book/edges/hed-390]", "tests/test_pages.py[book/edges/hed]"),
    ("tests/test_pages.py::test_prints[book/edges/hed]", "tests/test_pages.py[book/edges/hed]"),
    ("tests/test_pages.py::test_search", "tests/test_pages.py"),
    ("tests/test_accelerator.py::test_run[hed]", "tests/test_accelerator.py::test_run[hed]"),
    ("tests/test_losses.py::test_zero", "tests/test_losses.py"),
])
def test_what_stays_on_one_worker(test: str, where: str) -> None:
    assert notebook_checks.group(test) == where
