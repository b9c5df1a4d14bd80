"""No network, no telemetry, no installation: tested without routes, logging every attempt.

A child runs the commands in a network namespace without routes; an audit hook in it and its
children logs each attempt to resolve a name, to connect, to send, or to start an installer.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from network_log import INSTALLERS

HERE = Path(__file__).parent
REPO = HERE.parents[1]
COMMANDS = [
    "import",
    "help",
    "list",
    "explain",
    "probe",
    "train",
    "diagnose",
    "compare",
    "benchmark",
    "data",
]
QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
STOCK = """
import sys
from ultralytics import YOLO
YOLO("yolo26n.yaml").train(data=sys.argv[1], imgsz=32, batch=4, nbs=4, epochs=1, val=False,
                           plots=False, amp=False, workers=0, device="cpu", optimizer="SGD",
                           lr0=0.01, project=sys.argv[2], name="stock")
"""
OURS = """
import sys
from yolo_stability import train
train("detect", model="yolo26n.yaml", data=sys.argv[1], imgsz=32, batch=4, nbs=4, epochs=1,
      val=False, plots=False, amp=False, workers=0, device="cpu", optimizer="SGD", lr0=0.01,
      project=sys.argv[2], name="ours")
"""


def alone() -> list[str]:
    """Return the command prefix for a separate network namespace; skip if not permitted."""
    words = ["unshare", "--map-root-user", "--net"]
    try:
        done = subprocess.run([*words, "true"], capture_output=True, check=False, timeout=30)
    except OSError as error:
        pytest.skip(f"no network namespaces here: {error}")
    if done.returncode:
        pytest.skip(f"no network namespaces here: {done.stderr.decode().strip()}")
    return words


def run(folder: Path, words: list[str], **changes: str | None) -> list[dict[str, Any]]:
    """Run Python in a namespace of its own and return what was noted."""
    site, log = folder / "site", folder / "log"
    site.mkdir(parents=True)
    shutil.copy(HERE / "network_log.py", site / "sitecustomize.py")
    log.touch()
    environment = {
        **{
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("YOLO_", "ULTRALYTICS_"))
        },
        "PYTHONPATH": os.pathsep.join([str(site), str(REPO)]),
        "NETWORK_LOG": str(log),
        "YOLO_CONFIG_DIR": str(folder / "config"),
        "YOLO_STABILITY_CACHE": str(folder.parent / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTEST_CURRENT_TEST": None,  # Ultralytics is quieter where it sees one
        **changes,
    }
    done = subprocess.run(
        [*alone(), sys.executable, *words],
        env={key: value for key, value in environment.items() if value is not None},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [json.loads(line) for line in log.read_text().splitlines()]


def place_font(folder: Path) -> None:
    """Provide the font that Ultralytics would otherwise try to download."""
    target = folder / "config" / "Ultralytics"
    target.mkdir(parents=True)
    shutil.copy(next(Path(os.environ["YOLO_CONFIG_DIR"]).rglob("Arial.ttf")), target / "Arial.ttf")


def attempts(noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in noted if "event" in entry]


@pytest.mark.full
@pytest.mark.trains
def test_nothing_is_reached_for_where_the_user_asks_for_quiet(tmp_path: Path) -> None:
    folder = tmp_path / "quiet"
    place_font(folder)
    noted = run(folder, [str(HERE / "every_command.py"), str(folder / "out")], **QUIET)
    assert (
        list(dict.fromkeys(entry["command"] for entry in noted if "command" in entry)) == COMMANDS
    )
    assert attempts(noted) == []


@pytest.mark.full
@pytest.mark.trains
def test_this_package_reaches_for_nothing_by_itself(tmp_path: Path) -> None:
    """Without the variables and the font, every access is Ultralytics' and none is ours."""
    noted = run(tmp_path / "loud", [str(HERE / "every_command.py"), str(tmp_path / "out")])
    found = attempts(noted)
    assert found, "Ultralytics looks whether it is online"
    assert {entry["owner"] for entry in found} == {"ultralytics"}
    assert [entry for entry in found if entry["event"] == "install"] == []


@pytest.mark.full
@pytest.mark.trains
def test_a_training_reaches_for_what_a_stock_training_reaches_for(tmp_path: Path) -> None:
    from yolo_stability.data.resolve import resolve_data

    data = str(resolve_data("shapes", "detect").data)
    stock, ours = (
        Counter(
            (e["event"], e["where"])
            for e in attempts(run(tmp_path / name, ["-c", code, data, str(tmp_path)]))
        )
        for name, code in (("stock", STOCK), ("ours", OURS))
    )
    assert sum(stock.values()) > 0
    assert not ours - stock


@pytest.mark.full
@pytest.mark.trains
def test_the_kernel_saw_no_attempt_either(tmp_path: Path) -> None:
    """Calls of C code bypass Python's audit; strace records all of the process and its children."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    folder, trace = tmp_path / "traced", tmp_path / "calls"
    place_font(folder)
    code = "from yolo_stability.cli.main import main; raise SystemExit(main(['probe',"
    code += " 'model=yolo26n.yaml',"
    code += f" 'data=shapes', 'imgsz=32', 'batch=2', 'out={folder / 'probe'}']))"
    done = subprocess.run(
        [
            *alone(),
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=connect,sendto,sendmsg,sendmmsg",
            "-o",
            str(trace),
            sys.executable,
            "-c",
            code,
        ],
        env={
            **os.environ,
            **QUIET,
            "PYTHONPATH": str(REPO),
            "YOLO_CONFIG_DIR": str(folder / "config"),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    if "ptrace" in done.stderr.lower() and done.returncode:
        pytest.skip(f"strace may not look here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert [
        line for line in trace.read_text().splitlines() if re.search(r"AF_INET6?\b", line)
    ] == []


REACH = """
import socket, subprocess, sys
for attempt in (
    lambda: socket.getaddrinfo("example.invalid", 80),
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    lambda: __import__("urllib.request").request.urlopen("http://192.0.2.1/", timeout=1),
    lambda: subprocess.run([sys.executable, "-m", "pip", "--version"]),
    lambda: subprocess.run(
        [sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.2', 1), 1)"]
    ),
):
    try:
        attempt()
    except OSError:
        pass
"""


def test_an_attempt_would_be_noted(tmp_path: Path) -> None:
    noted = run(tmp_path / "seen", ["-c", REACH])
    seen = Counter(entry["event"] for entry in noted)
    assert {"socket.getaddrinfo", "socket.connect", "socket.sendto", "install"} <= set(seen)
    assert any("192.0.2.2" in entry["where"] for entry in noted), "children are watched, too"
    assert INSTALLERS[0] == "pip"
