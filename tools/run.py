"""Execute notebooks from top to bottom; store their outputs and rows: `make run`.

Command line: `python tools/run.py [SLUG ...]`, all notebooks without one; `--list`
names them. A run of all that was broken off goes on with those that are left.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import sys
from base64 import b64decode, b64encode
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.formatters import DisplayFormatter
from nbclient.exceptions import CellExecutionError
from PIL import Image

import tagged
from canonical import digest
from execution import Run, execute, fail, side_by_side, write_together
from utils import chapters, evidence

PASS = "_build/run.json"  # notebooks that a run of all has done so far, by their code
USUAL = 45.0  # seconds expected of a notebook that never ran


def shrink_png(data: str) -> str:
    """Base64 PNG -> the same picture in 256 colours, where that is smaller."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(b64decode(data))).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, format="png", optimize=True
    )
    small = b64encode(buffer.getvalue()).decode()
    return small if len(small) < len(data) else data


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run and shrink the pictures."""
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        **{key: value for key, value in notebook.metadata.items() if key == "book"},
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = shrink_png(data["image/png"])


def row_of(ran: Run, seed: int, source: str) -> dict[str, Any]:
    """One row of evidence from a run."""
    kept = ("baseline", "method", "more", "parameters", "items", "seconds")
    return ({"seed": seed, "source": source} | {key: ran.record[key] for key in kept}
            | {"code": ran.code} | ran.record["environment"])


def with_row(slug: str, ran: Run, row: dict[str, Any]) -> dict[str, Any]:
    """The chapter's evidence with that row in place of the older one.

    Rows of the same source that other code has measured go with it.
    """
    stored = evidence.load(slug) or {"rows": []}
    same = row["source"], row["seed"]
    rows = [r for r in stored["rows"] if (r["source"], r["seed"]) != same
            and (r["source"] != row["source"] or r["code"] == row["code"])]
    own = tagged.parameters(slug)["source"]
    rows = sorted([*rows, row], key=lambda r: (r["source"] != own, r["source"], r["seed"]))
    about = ("metric", "better", "baseline_name", "method_name", "comparisons")
    return {"chapter": slug} | {key: ran.record[key] for key in about} | {"rows": rows}


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def store(ran: Run, tell: bool = True) -> None:
    """Store a whole run: outputs, the row of its seed and source, seconds and memory.

    With `tell` the cells about the rows are renewed too (`retell`, which may raise).
    """
    slug, root = ran.slug, chapters.root()
    tidy(ran.notebook)
    entry = {"seconds": ran.seconds, "peak_mb": ran.peak_mb}
    files = {chapters.get(slug).path: nbformat.writes(ran.notebook) + "\n"}
    if ran.record:
        page = tagged.parameters(slug)
        row = row_of(ran, page["seed"], page["source"])
        files[evidence.path(slug)] = as_json(with_row(slug, ran, row))
        entry["parameters"] = ran.record["parameters"]
    files[root / chapters.RUNS] = as_json(chapters.last_runs() | {slug: entry})
    write_together(files)
    if ran.record and tell:
        retell(slug)


def retell(slug: str) -> None:
    """Renew the stored outputs of the cells that only tell of the stored rows.

    Raises ValueError, with the row, where the prose says other than the rows.
    """
    chapter = chapters.get(slug)
    notebook = chapter.notebook
    for cell in notebook.cells:
        if tagged.tells_evidence(cell):
            cell.outputs = outputs(cell.source, cell.execution_count)
    text = nbformat.writes(notebook) + "\n"
    if text != chapter.path.read_text(encoding="utf8"):
        write_together({chapter.path: text})


def outputs(source: str, count: int | None) -> list[nbformat.NotebookNode]:
    """What a kernel would show for a cell that needs nothing but `evidence`."""
    body = ast.parse(source).body
    space: dict[str, Any] = {"evidence": evidence}
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    with redirect_stdout(io.StringIO()) as said:
        exec(compile(ast.Module(body, []), "cell", "exec"), space)
        value = last and eval(compile(ast.Expression(last.value), "cell", "eval"), space)
    shown = []
    if said.getvalue():
        shown.append(nbformat.v4.new_output("stream", text=said.getvalue()))
    if value is not None:
        data, metadata = DisplayFormatter().format(value)
        shown.append(nbformat.v4.new_output("execute_result", data, metadata=metadata,
                                            execution_count=count))
    return shown


def fingerprint(slug: str) -> str:
    """Hash of all code of a notebook: what a broken-off run of all compares."""
    return digest(c.source for c in chapters.get(slug).notebook.cells
                  if c.cell_type == "code")


def usual_seconds(slug: str) -> float:
    return chapters.last_runs().get(slug, {}).get("seconds", USUAL)


def run(slugs: list[str]) -> list[str]:
    """Run notebooks side by side and store each as it ends; return what went wrong."""
    trouble = []
    seconds = [usual_seconds(slug) for slug in slugs]
    for number, ran in side_by_side(attempt, [(slug,) for slug in slugs], seconds):
        slug = slugs[number]
        if isinstance(ran, str):
            trouble.append(f"{ran}\n{slug} failed; the stored notebook is unchanged")
            continue
        try:
            store(ran)
        except ValueError as problem:
            trouble.append(f"{slug} was run and stored, but {problem}")
        print(f"{slug}: {ran.seconds:.1f} s, peak {ran.peak_mb} MB", flush=True)
        note_done(slug)
    return trouble


def attempt(slug: str) -> Run | str:
    """Execute a notebook; the text of the error where a cell fails."""
    try:
        return execute(slug)
    except (CellExecutionError, RuntimeError, ValueError) as problem:
        return str(problem)


def done_before() -> dict[str, str]:
    """Notebooks that a run of all, broken off, has done: slug -> its code then."""
    file = chapters.root() / PASS
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else {}


def note_done(slug: str) -> None:
    """Note, while a run of all is under way, that a notebook is done."""
    file = chapters.root() / PASS
    if file.is_file():
        write_together({file: as_json(done_before() | {slug: fingerprint(slug)})})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tools/run.py")
    parser.add_argument("slugs", nargs="*", help="notebooks (default: all)")
    parser.add_argument("--list", action="store_true", help="only name them")
    options = parser.parse_args(arguments)
    try:
        wanted = [chapters.get(slug) for slug in options.slugs or chapters.notebooks()]
    except ValueError as problem:
        return fail(problem)
    if options.list:
        print("\n".join(f"{chapter.part}/{chapter.slug}" for chapter in wanted))
        return 0
    slugs, file = [chapter.slug for chapter in wanted], chapters.root() / PASS
    if not options.slugs:
        done = {s: code for s, code in done_before().items()
                if s in slugs and fingerprint(s) == code}
        if done:
            print(f"Going on with a run that was broken off: {', '.join(done)} done "
                  f"(remove {PASS} to begin anew)")
        slugs = [slug for slug in slugs if slug not in done]
        write_together({file: as_json(done)})
    trouble = run(slugs) if slugs else []
    if trouble:
        print("\n".join(trouble), file=sys.stderr)
        return 1
    file.unlink(missing_ok=True)
    print(f"{len(wanted)} notebooks run and stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
