"""Build the HTML book from the stored outputs, without running a notebook.

`python tools/build.py` needs nothing but the installed requirements; with `--epub` it
makes the EPUB first, which the front page then offers until the book changes. With the
environment variable BOOK_REPOSITORY (for example https://github.com/owner/name) the
pages also get a link to the repository and buttons that open a chapter on Colab or
Binder; without it, there is no such button.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_BRANCH = "launch"  # made by tools/launch_branch.py
FILE = "what-the-network-sees"  # of the EPUB, without its ending: epub_basename


def repository(address: str | None) -> str | None:
    """Return a repository's address without a closing slash, or None if it is unset.

    Raises ValueError where the address is not https://host/owner/name.
    """
    if not address:
        return None
    address = address.rstrip("/").removesuffix(".git")
    if not address.startswith("https://") or address.count("/") != 4:
        raise ValueError(
            f"BOOK_REPOSITORY must look like https://github.com/owner/name, "
            f"not {address!r}"
        )
    return address


def configuration(base: dict[str, Any], address: str | None) -> dict[str, Any]:
    """Return the book's configuration, with launch buttons if `address` is given."""
    if address is None:
        return base
    tools = {name: str(ROOT / path)
             for name, path in base["sphinx"]["local_extensions"].items()}
    return base | {
        "repository": {"url": address, "branch": LAUNCH_BRANCH},
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
        },
        "html": base["html"] | {"use_repository_button": True},
        "sphinx": base["sphinx"] | {"local_extensions": tools},
    }


def build(folder: Path, address: str | None = None, source: Path = ROOT,
          toc: Path | None = None, strict: bool = True, kind: str = "html") -> Path:
    """Build the book and return the folder of its pages, `folder`/_build/html.

    Every warning counts as a failure if `strict`: subprocess.CalledProcessError is
    raised. `toc` replaces the table of contents. `kind` "epub" makes one file instead, in
    `folder`/_build/epub, and returns it; pages built of the same files afterwards offer it.
    """
    config = source / "_config.yml"
    if address is not None:
        base = yaml.safe_load(config.read_text(encoding="utf8"))
        config = folder / "_build" / "config.yml"
        config.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(configuration(base, address), sort_keys=False)
        config.write_text(text, encoding="utf8")
    jupyter_book = "from jupyter_book.cli.main import main; main()"  # no .exe to find
    command = [sys.executable, "-c", jupyter_book, "build", source]
    command += ["--config", config, "--path-output", folder, "-q"]
    command += ["--toc", toc] if toc else []
    command += ["-n", "-W", "--keep-going"] if strict else []
    command += ["--builder", "custom", "--custom-builder", kind] if kind != "html" else []
    made = folder / "_build" / kind
    if kind != "html":                  # the builder packs and questions all it finds there
        shutil.rmtree(made, ignore_errors=True)
    done = subprocess.run(
        command, cwd=source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        stderr=None if strict else subprocess.DEVNULL,
    )  # warnings go to stderr as they come; stdout says something only on failure
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
    return made if kind == "html" else made / f"{FILE}.epub"


def main(wanted: list[str]) -> int:
    """Build, with `--epub` the EPUB first, then say in one line where the book is."""
    print("Building the book from the stored outputs (about a minute)")
    try:
        address = repository(os.environ.get("BOOK_REPOSITORY"))
        if "--epub" in wanted:
            file = build(ROOT, kind="epub")
            print(f"EPUB: {file}, {file.stat().st_size / 1e6:.0f} MB")
        pages = build(ROOT, address)
    except ValueError as error:
        print(f"build: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError:
        print("build: the book has warnings; they are listed above.", file=sys.stderr)
        return 1
    print(f"The book is ready: open {(pages / 'index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
