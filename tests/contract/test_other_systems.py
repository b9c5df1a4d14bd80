"""Other systems: without what Windows and macOS lack, the package imports, prints and writes.

Nothing here was tried on these systems; `docs/pages/limits.md` lists what is known to differ there.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest
from sample_benchmark import run_spec

import yolo_stability
from yolo_stability.benchmarks import plan

REPO = Path(__file__).resolve().parents[2]
PACKAGE = Path(yolo_stability.__file__).parent

# Third-party packages are there already when the names go: only this package is asked to do without
# them.
WITHOUT_POSIX = """
import importlib, os, pkgutil, select, signal, socket, sys
import yolo_stability

def names():
    found = pkgutil.walk_packages(yolo_stability.__path__, "yolo_stability.")
    return [m.name for m in found if not m.name.endswith("__main__")]

def load(modules):
    for name in modules:
        importlib.import_module(name)

modules = names()
load(modules)
for name in [n for n in sys.modules if n.split(".")[0] == "yolo_stability"]:
    del sys.modules[name]
gone = {
    os: "fork killpg getpgid setsid setpgid getuid WNOHANG waitpid waitstatus_to_exitcode mkfifo "
        "sched_getaffinity statvfs getloadavg posix_fadvise O_NONBLOCK",
    signal: "SIGKILL SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGALRM SIGSTOP pthread_sigmask "
        "pthread_kill setitimer alarm",
    socket: "AF_UNIX SOCK_SEQPACKET send_fds recv_fds socketpair",
    select: "poll epoll",
}
for module, lacking in gone.items():
    for name in lacking.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios", "pty"):
    sys.modules[name] = None
os.name = sys.platform = "unknown"
load(modules)
print(len(modules))
"""

EVERY_PAGE = """
import sys
from pathlib import Path
from yolo_stability.cli.commands import VERBS
from yolo_stability.cli.main import main
from yolo_stability.cli.commands.listing import KINDS

run = Path(sys.argv[1])
lines = [["help"], ["version"], ["list"], *([verb, "--help"] for verb in VERBS)]
lines += [["list", kind] for kind in KINDS]
lines += [["diagnose", str(run)], ["trian"], ["diagnose", "Fotoğraflar…"]]
print([main(line) for line in lines])
from yolo_stability import load_trace
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.trainer.monitor import show
trace = load_trace(run)
sys.stdout.reconfigure(errors="strict")  # a program of the user's has not called main()
show(trace, run / "stability" / "gradient_norms.png", diagnose_trace(trace))
"""


def test_every_module_imports_without_what_only_posix_has() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 200


def pages_in(encoding: str, folder: Path) -> str:
    """Return the output of the verbs on a console of an encoding, without its own folder."""
    run = folder / encoding
    shutil.copytree(REPO / "tests" / "golden" / "detect-26n", run)
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", EVERY_PAGE, str(run)],
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "100"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(encoding)
    done.stderr.decode(encoding)
    return done.stdout.decode(encoding).replace(str(run), "RUN")


def test_a_console_of_western_windows_shows_what_any_other_shows(tmp_path: Path) -> None:
    narrow, wide = pages_in("cp1252", tmp_path), pages_in("utf-8", tmp_path)
    assert "\\u" not in narrow
    rules = str.maketrans("─|+-", "    ")  # of tables, which rich draws with what a console has
    words = [text.translate(rules).split() for text in (narrow, wide)]
    assert words[0] == words[1]
    assert len(words[0]) > 2000


def test_results_name_folders_with_forward_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "Path", PureWindowsPath)
    spec = run_spec(arm="lr/x10", model="yolo26n.yaml", seed=3)
    assert str(spec.folder) == "runs\\lr\\x10\\detect\\yolo26n\\3"
    assert spec.place == "runs/lr/x10/detect/yolo26n/3"


# --- text files have an encoding: Windows would take that of the region ---------------------------


def without_encoding(source: str) -> list[str]:
    """Return the calls that open a text file without naming its encoding."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and _opens_text(node)
        and not any(key.arg in {"encoding", None} for key in node.keywords)
    ]


def _opens_text(call: ast.Call) -> bool:
    """Return whether a call opens a file as text: `open`, or `Path` with one of its methods."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in {"read_text", "write_text"}:
        return True
    if name != "open" or (isinstance(call.func, ast.Attribute) and not _is_a_path(call)):
        return False
    modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    return not any("b" in str(mode) for mode in modes)


def _is_a_path(call: ast.Call) -> bool:
    """Return whether `x.open(...)` can be that of a path: no argument, or a mode."""
    return all(
        isinstance(arg, ast.Constant) and isinstance(arg.value, str) for arg in call.args
    ) and not any(key.arg in {"header", "upto"} for key in call.keywords)


def test_text_files_are_opened_with_an_encoding() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): calls
        for path in sorted(PACKAGE.rglob("*.py"))
        if (calls := without_encoding(path.read_text(encoding="utf-8")))
    }
    assert found == {"trace/writer.py": ["self._steps.open()"]}  # the part files of a table


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", 1),
        ("path.write_text('x')", 1),
        ("open(name)", 1),
        ("path.open('w')", 1),
        ("path.open()", 1),
        ("path.open('rb')", 0),
        ("open(name, 'rb')", 0),
        ("path.open('x', encoding='utf-8')", 0),
        ("path.read_text(encoding='ascii')", 0),
    ],
)
def test_a_text_file_without_an_encoding_is_found(source: str, found: int) -> None:
    assert len(without_encoding(source)) == found
