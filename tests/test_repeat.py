"""A chapter run twice on one machine gives the same numbers."""

import os
from pathlib import Path

import papermill
import pytest

import measure
from utils import chapters


def printed(slug: str, folder: Path, name: str) -> list[str]:
    """Every text that a short run prints, and its record."""
    chapter = chapters.get(slug)
    ran = papermill.execute_notebook(
        chapter.path, folder / f"{name}.ipynb", parameters={"steps": 3, "seed": 1},
        cwd=chapter.path.parent, progress_bar=False, kernel_name="python3")
    texts = [o.text for c in ran.cells for o in c.get("outputs", [])
             if o.output_type == "stream" and o.name == "stdout"]
    # one print may arrive in one piece or in several: compare line by line
    return [*"".join(texts).splitlines(), repr(measure.read_record(ran))]


@pytest.mark.parametrize("slug", chapters.find())
def test_two_runs_print_the_same(slug: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BOOK_STATIC", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    first, second = (printed(slug, tmp_path, name) for name in ("first", "second"))
    assert first == second
    assert len(first) > 10
