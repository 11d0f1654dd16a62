"""pytest plugin: every notebook runs once, through nbval, and its claim is compared.

nbval compares the text of cells tagged `nbval-check-output`, those that do not depend on
the processor. This plugin adds the claim: where the kernel's environment is the stored
one, its record must be the stored one; elsewhere it must lie where the stored rows lie.
It also keeps a chapter's work on one worker and begins with what takes longest.
"""

import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

KEY = "book_evidence"
VOLATILE = ("seconds", "ms")  # numbers of these units measure the machine
DEVIATIONS = 4  # of the stored rows, whose spread so few rows tell only roughly


def pytest_configure(config: pytest.Config) -> None:
    """Kernels and tests run as `make run` does: stored outputs, one thread."""
    os.environ["BOOK_STATIC"] = "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = os.environ.get("BOOK_THREADS", "1")


def seconds() -> dict[str, float]:
    """Seconds of each notebook's stored run."""
    file = ROOT / "book/evidence/runs.json"
    runs = json.loads(file.read_text(encoding="utf8")) if file.exists() else {}
    return {slug: run["seconds"] for slug, run in runs.items()}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: notebooks, then what carries the mark `weight`."""
    known = seconds()

    def weight(item: pytest.Item) -> float:
        if item.path.suffix == ".ipynb":
            return 1000 + known.get(item.path.stem, 60)
        mark = item.get_closest_marker("weight")
        return mark.args[0] if mark else 0

    items.sort(key=weight, reverse=True)  # stable: the cells of a notebook stay in order


def group(test: str) -> str:
    """What must run on one worker: a notebook, a page at both widths, a file of tests.

    >>> group("tests/test_pages.py::test_axe[book/edges/hed-390]")
    'tests/test_pages.py[book/edges/hed]'
    """
    file, _, name = test.partition("::")
    if file.endswith("test_accelerator.py"):
        return test  # chapter by chapter
    if file.endswith("test_pages.py") and "[" in name:
        page = name.partition("[")[2].rstrip("]")
        return f"{file}[{page.removesuffix('-1280').removesuffix('-390')}]"
    return file


class ByChapter(LoadScopeScheduling):
    """Hands whole groups to the workers, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByChapter:
    return ByChapter(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """After the claim cell of a notebook has run, compare its record."""
    result = yield
    cell = getattr(item, "cell", None)
    if cell is not None and "claim" in cell.metadata.get("tags", []):
        found = [o["metadata"][KEY] for o in item.test_outputs or []
                 if KEY in o.get("metadata", {})]
        assert len(found) == 1, f"the claim cell gave {len(found)} records"
        stored = json.loads((ROOT / "book/evidence" / f"{item.path.stem}.json")
                            .read_text(encoding="utf8"))
        page = [o["metadata"][KEY] for o in cell.outputs if KEY in o.metadata]
        assert page, "no record is stored with the claim cell: make run"
        problems = compare(found[0], page[0], stored["rows"])
        assert not problems, "\n".join([f"{item.path.name}: the claim differs", *problems])
    return result


def numbers(record: dict) -> dict[str, float]:
    """Every measured number of a record or row by name."""
    own = {"method": record["method"], "baseline": record["baseline"]}
    return {name: value for name, value in (own | record["more"]).items()
            if not set(VOLATILE) & set(name.replace(",", " ").split())}


def compare(found: dict, page: dict, rows: list[dict]) -> list[str]:
    """What is wrong with a record: nothing where it repeats the page, or may differ.

    The same environment must give the same numbers. Another processor or version may
    not, since short training amplifies the last digit: then each number must lie within
    the range of the stored rows of that source, or within four standard deviations.
    """
    now, then = numbers(found), numbers(page)
    if now.keys() != then.keys():
        return [f"other arms: {sorted(now.keys() ^ then.keys())}"]
    if found["environment"] == page["environment"]:
        return [f"{name}: {now[name]!r}, stored {then[name]!r} in the same environment"
                for name in now if now[name] != then[name]]
    same = [numbers(r) for r in rows if r["source"] == rows[0]["source"]]  # the page's own
    wrong = []
    for name, value in now.items():
        known = [row[name] for row in same]
        spread = statistics.stdev(known) if len(known) > 1 else 0.0
        mean = statistics.fmean(known)
        low = min(*known, mean - DEVIATIONS * spread, then[name])
        high = max(*known, mean + DEVIATIONS * spread, then[name])
        if not low <= value <= high:
            wrong.append(f"{name}: {value:.4f}, outside {low:.4f} to {high:.4f} of the "
                         "stored rows (another processor or version)")
    return wrong
