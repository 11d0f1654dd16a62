"""A chapter in JupyterLab, as `make lab` opens it: all cells run, the control is live."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import tagged
from utils import chapters

SLUG, STEPS, SECONDS = "hed", 3, 240
STORED = f"{SLUG}-stored"  # the chapter as it comes, not run here
CELLS = "jupyterapp.shell.currentWidget.content.widgets"
DONE = f"""() => {{
    const last = {CELLS}.filter(c => c.model.type === 'code').at(-1);
    return last.model.executionCount !== null && last.model.executionState !== 'running';
}}"""
ERRORS = f"""() => {CELLS}.filter(c => c.model.type === 'code').flatMap(c =>
    c.model.outputs.toJSON().filter(o => o.output_type === 'error').map(o => o.evalue))"""
SHOWN = """() => [...document.querySelectorAll('.jp-OutputArea img.widget-image')]
    .map(e => e.src)"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab over a folder with one chapter at few steps."""
    folder = tmp_path / "book"
    folder.mkdir()
    shutil.copy(chapters.get(SLUG).path, folder / f"{STORED}.ipynb")
    notebook = nbformat.read(chapters.get(SLUG).path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if tagged.has_tag(cell, "parameters"):
            cell.source += f"\nsteps = {STEPS}"
    nbformat.write(notebook, folder / f"{SLUG}.ipynb")
    port, own = free_port(), {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data",
                              "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
               f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
               f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=",
               "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
               f"--LabApp.workspaces_dir={tmp_path / 'workspaces'}",
               f"--LabApp.user_settings_dir={tmp_path / 'settings'}",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    reader = {k: v for k, v in os.environ.items() if not k.startswith("BOOK_")}
    own = reader | {name: str(tmp_path / part) for name, part in own.items()}
    subprocess.run([sys.executable, "-m", "jupyter", "trust", folder / f"{STORED}.ipynb"],
                   env=own, check=True, capture_output=True)
    log = tmp_path / "lab.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=folder, stdout=file,
                                  stderr=subprocess.STDOUT, env=own)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            if server.poll() is not None:
                pytest.fail(f"JupyterLab stopped: {log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:       # a kernel that is just starting holds it
            server.kill()
            server.wait()
        shutil.rmtree(folder)


def test_stored_pictures_and_words_read_well(browser, lab: str) -> None:
    """Before a cell is run: the sketch is drawn, terms are links, exercises have titles."""
    text = "\n".join(cell.source for cell in chapters.get(SLUG).notebook.cells)
    link = re.search(r"\[([^]]+)\]\(<?#", text)

    def show(part: str) -> None:
        page.evaluate(f"""part => jupyterapp.shell.currentWidget.content.scrollToItem({CELLS}
            .findIndex(c => c.model.sharedModel.getSource().includes(part)))""", part)

    context = browser.new_context(viewport={"width": 1280, "height": 4000})
    page = context.new_page()
    page.goto(f"{lab}/lab/tree/{STORED}.ipynb")
    page.wait_for_selector(".jp-OutputArea-output svg text", timeout=60_000)
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.ready")
    show(link[0])
    shown = page.locator(".jp-MarkdownOutput").get_by_role(
        "link", name=" ".join(link[1].split()), exact=True)
    shown.first.wait_for(timeout=60_000)
    assert page.get_by_text("{term}").count() == 0
    show("{exercise}")
    title = page.get_by_text(":::{exercise}").first
    title.wait_for(timeout=60_000)
    assert title.evaluate("e => e.closest('pre')") is None
    context.close()


@pytest.mark.weight(90)
@pytest.mark.timeout(2 * SECONDS)
def test_a_chapter_runs_and_its_control_is_live(browser, lab: str) -> None:
    """Run all cells, move the slider by the keyboard, see another picture; no complaint."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, trouble = context.new_page(), []
    page.on("pageerror", lambda error: trouble.append(f"page error: {error}"))
    page.on("console", lambda m: m.type == "error" and trouble.append(m.text))
    page.on("request", lambda r: r.url.startswith((lab, lab.replace("http", "ws"), "data:",
                                                   "blob:")) or trouble.append(r.url))
    page.goto(f"{lab}/lab/tree/{SLUG}.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_function("() => !!window.jupyterapp?.shell.currentWidget?.content")
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.ready")
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function(DONE, timeout=SECONDS * 1000)
    assert page.evaluate(ERRORS) == []

    number = page.evaluate(f"""() => {CELLS}.findIndex(c => c.model.type === 'code' &&
        c.model.sharedModel.getSource().includes('flipbook(') &&
        c.model.outputs.length > 0)""")
    page.evaluate(f"""number => {{
        const book = jupyterapp.shell.currentWidget.content;
        book.activeCellIndex = number;
        return book.scrollToItem(number, 'center');
    }}""", number)
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.wait_for(timeout=30_000)
    before = page.evaluate(SHOWN)
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"before => JSON.stringify(({SHOWN})()) !== before",
                           arg=json.dumps(before, separators=(",", ":")), timeout=60_000)
    assert trouble == []
    context.close()
