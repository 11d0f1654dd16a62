"""Make the tree of the branch `launch`, which the Colab and Binder buttons open.

`python tools/launch_branch.py FOLDER --repository https://github.com/owner/name` copies
the tracked files into FOLDER and puts one cell before each chapter's first: it fetches
the book's package and what it needs where they are missing. The notebooks of the main
branch stay free of it. The workflow that publishes the pages pushes the result.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from build import ROOT, repository

CELL = '''\
# On a hosted notebook only: fetch the book's package and what it needs (a minute).
import importlib.util
import pathlib
import subprocess
import sys

there = importlib.util.find_spec("utils")
if there is None or importlib.util.find_spec("utils.chapters") is None:
    address = "{address}"
    book = pathlib.Path("{folder}").resolve()
    if not book.exists():
        subprocess.run(["git", "clone", "--depth", "1", address, book], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", book]
    subprocess.run(pip, check=True)
    sys.modules.pop("utils", None)
    sys.path.insert(0, str(book))
'''


def with_first_cell(
    notebook: nbformat.NotebookNode, address: str
) -> nbformat.NotebookNode:
    """Return the notebook with the fetching cell before its others."""
    code = CELL.format(address=address, folder=address.rsplit("/", 1)[-1]).rstrip()
    cell = nbformat.v4.new_code_cell(code, metadata={"tags": ["fetch"]}, id="fetch")
    return nbformat.NotebookNode(notebook | {"cells": [cell, *notebook.cells]})


def make(folder: Path, address: str, source: Path = ROOT) -> list[Path]:
    """Fill the new folder with the launch tree and return the notebooks changed.

    Raises FileExistsError if the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name a new folder")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=source, check=True,
                            capture_output=True, text=True).stdout
    changed = []
    for name in filter(None, listed.split("\0")):
        if name.startswith(".github/"):
            continue  # a workflow's own token may not push workflows
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target)
        if target.suffix == ".ipynb":
            notebook = nbformat.read(target, as_version=4)
            nbformat.write(with_first_cell(notebook, address), target)
            changed.append(target)
    return changed


def main() -> int:
    """Read the command line, make the tree, and say what was made."""
    parser = argparse.ArgumentParser(description="Make the tree of the launch branch.")
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--repository", required=True, help="https://host/owner/name")
    options = parser.parse_args()
    try:
        changed = make(options.folder, repository(options.repository))
    except (ValueError, FileExistsError) as error:
        print(f"launch_branch: {error}", file=sys.stderr)
        return 2
    print(f"{len(changed)} notebooks in {options.folder} fetch what they need")
    return 0


if __name__ == "__main__":
    sys.exit(main())
