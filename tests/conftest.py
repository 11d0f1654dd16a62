"""What several test files share: the built book, and one headless browser."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run",
         "--disable-dev-shm-usage"]  # no request of the browser's own


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the book's pages, built strictly once per run of the tests."""
    from build import build

    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # the folder that all workers of this run share
    outcome = folder / "book.outcome"
    with FileLock(folder / "book.lock"):
        if not outcome.exists():
            try:
                build(folder)
                outcome.write_text("built")
            except subprocess.CalledProcessError:
                outcome.write_text("failed")
    if outcome.read_text() != "built":
        pytest.fail("the book does not build: see 'make book'", pytrace=False)
    return folder / "_build" / "html"


def find_browser() -> str | None:
    """Return the path of a Chromium: BOOK_CHROMIUM, or the first one on the PATH."""
    named = os.environ.get("BOOK_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A headless Chromium driven by playwright; skips without one, except in CI."""
    path = find_browser()
    if path is None:
        reason = "no Chromium found: install chromium or set BOOK_CHROMIUM to its path"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        chromium.close()
