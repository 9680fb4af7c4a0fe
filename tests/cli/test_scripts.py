"""`scripts/`: they find a Python that works, install once, and again only when they must.

Offline: the tree under test has a package of one module and a build backend of its own.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
BACKEND = """
import base64, hashlib, pathlib, zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "chaind-0.0.0-py3-none-any.whl"
    info = "chaind-0.0.0.dist-info"
    metadata = ["Metadata-Version: 2.1", "Name: chaind", "Version: 0.0.0", "Provides-Extra: test"]
    wheel = ["Wheel-Version: 1.0", "Generator: test", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    files = {
        "chaind.pth": str(pathlib.Path.cwd()),
        f"{info}/METADATA": "\\n".join(metadata) + "\\n",
        f"{info}/WHEEL": "\\n".join(wheel) + "\\n",
    }
    record = "".join(
        "%s,sha256=%s,%d\\n" % (
            path,
            base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode(),
            len(text),
        )
        for path, text in files.items()
    )
    with zipfile.ZipFile(pathlib.Path(directory) / name, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\\n"}.items():
            archive.writestr(path, text)
    return name
"""  # PEP 517 and PEP 660, the least that pip takes
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
STUB_PROGRAM = 'import sys; print("chaind", sys.argv[1:])'


def bash(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree, with a space in its path."""
    root = tmp_path_factory.mktemp("scripts") / "my tree"
    shutil.copytree(SCRIPTS, root / "scripts")
    (root / "backend.py").write_text(BACKEND)
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "setup.cfg").write_text("")
    for module in ("chaind/__init__.py", "chaind/cli/__init__.py"):
        (root / module).parent.mkdir(parents=True, exist_ok=True)
        (root / module).write_text("")
    (root / "chaind/cli/main.py").write_text(STUB_PROGRAM)
    return root


def devnet(
    tree: Path, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tree / "scripts/devnet", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd or tree.parent,
        env={**os.environ, "CHAIND_PYTHON": sys._base_executable},  # type: ignore[attr-defined]
    )


def test_first_run_installs_and_later_ones_only_run(tree: Path, tmp_path: Path) -> None:
    first = devnet(tree, "--home", "a b")
    assert (first.returncode, first.stdout) == (0, "chaind ['devnet', '--home', 'a b']\n")
    assert "Making" in first.stderr
    assert "Installing chaind" in first.stderr

    # A directory called chaind where the script is called from must not pass for the package.
    (tmp_path / "chaind").mkdir()
    second = devnet(tree, "-h", cwd=tmp_path)
    assert (second.stdout, second.stderr) == ("chaind ['devnet', '-h']\n", "")

    (tree / "setup.cfg").write_text("# other metadata\n")
    third = devnet(tree)
    assert "Installing chaind" in third.stderr
    assert "Making" not in third.stderr
    assert devnet(tree).stderr == ""

    # The test extra stands in a stamp of its own, and includes the base.
    command = f'source "{tree}/scripts/lib.sh" && ensure_installed test'
    assert "Installing chaind[test]" in bash(command).stderr
    assert bash(command).stderr == devnet(tree).stderr == ""

    # An interrupted installation left no stamp.
    shutil.rmtree(tree / ".venv/.chaind-installed")
    assert "Installing" in devnet(tree).stderr


def test_failed_installation_is_no_success(tree: Path) -> None:
    (tree / "pyproject.toml").write_text(PROJECT.replace('"backend"', '"absent"'))
    try:
        done = devnet(tree)
    finally:
        (tree / "pyproject.toml").write_text(PROJECT)
    assert done.returncode == 69
    assert done.stdout == ""
    assert "The installation failed" in done.stderr


def found(tmp_path: Path, tree: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """What `find_python` chooses among the programs in tmp_path/bin."""
    for tool in ("bash", "dirname"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    environ = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), **environ}
    environ.setdefault("PYENV_ROOT", str(tmp_path / "none"))
    return bash(
        f'set -euo pipefail; source "{tree}/scripts/lib.sh"; find_python; echo "$base"', **environ
    )


FAILS = "#!/bin/sh\necho 'pyenv: python3.11: command not found' >&2\nexit 127\n"
WORKS = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
WITHOUT_VENV = f"""\
#!/bin/sh
case "$2" in *ensurepip*) exit 1 ;; esac
exec "{sys.executable}" "$@"
"""


@pytest.fixture(autouse=True)
def _no_choice_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAIND_PYTHON", raising=False)


def test_shim_that_exists_but_fails_is_passed_over(tmp_path: Path, tree: Path) -> None:
    executable(tmp_path / "bin/python3.11", FAILS)
    good = executable(tmp_path / "bin/python3.12", WORKS)
    assert found(tmp_path, tree).stdout == f"{good}\n"


def test_python_of_pyenv_is_found_behind_failing_shims(tmp_path: Path, tree: Path) -> None:
    executable(tmp_path / "bin/python3.11", FAILS)
    good = executable(tmp_path / "pyenv/versions/3.12.1/bin/python", WORKS)
    done = found(tmp_path, tree, PYENV_ROOT=str(tmp_path / "pyenv"))
    assert done.stdout == f"{good}\n"


def test_python_without_venv_is_passed_over_for_one_with(tmp_path: Path, tree: Path) -> None:
    executable(tmp_path / "bin/python3.11", WITHOUT_VENV)
    good = executable(tmp_path / "bin/python3", WORKS)
    assert found(tmp_path, tree).stdout == f"{good}\n"


def test_missing_venv_module_says_what_to_install(tmp_path: Path, tree: Path) -> None:
    executable(tmp_path / "bin/python3", WITHOUT_VENV)
    done = found(tmp_path, tree)
    assert done.returncode == 69
    assert f"apt-get install python3.{sys.version_info.minor}-venv" in done.stderr


def test_no_python_at_all_says_what_to_install(tmp_path: Path, tree: Path) -> None:
    done = found(tmp_path, tree)
    assert done.returncode == 69
    assert "chaind needs Python 3.11 or 3.12" in done.stderr


def test_named_python_is_used_and_a_wrong_one_refused(tmp_path: Path, tree: Path) -> None:
    executable(tmp_path / "bin/python3.11", FAILS)
    mine = executable(tmp_path / "mine", WORKS)
    assert found(tmp_path, tree, CHAIND_PYTHON=str(mine)).stdout == f"{mine}\n"


def test_named_python_that_does_not_run_is_refused(tmp_path: Path, tree: Path) -> None:
    executable(tmp_path / "bin/python3.11", WORKS)
    done = found(tmp_path, tree, CHAIND_PYTHON="/no/such/python")
    assert done.returncode == 69
    assert "CHAIND_PYTHON=/no/such/python does not run" in done.stderr


def test_moved_tree_gets_a_new_environment(tree: Path) -> None:
    devnet(tree)
    moved = tree.rename(tree.with_name("moved tree"))
    try:
        assert "Making" in devnet(moved).stderr  # the old one's scripts point at where it was
    finally:
        moved.rename(tree)


def test_a_missing_browser_is_said_and_a_present_one_is_not(tmp_path: Path) -> None:
    """Nobody but root on a Debian gets one installed without asking."""
    tools = tmp_path / "tools"
    executable(tools / "id", "#!/bin/sh\necho 1000\n")
    (tools / "dirname").symlink_to(shutil.which("dirname") or "/usr/bin/dirname")
    command = f'source "{SCRIPTS}/lib.sh" && PATH="{tools}" && ensure_browser'
    missing = bash(command, CHAIND_CHROMIUM="")
    assert missing.returncode == 0
    assert "the dashboard will NOT be tested" in missing.stderr
    browser = executable(tmp_path / "browser", "#!/bin/sh\n")
    found = bash(command, CHAIND_CHROMIUM=str(browser))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
