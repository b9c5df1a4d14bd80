"""One run per folder, and a run that died does not block the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolo_stability.core import lock as module
from yolo_stability.core.errors import StabilityError
from yolo_stability.core.lock import LOCK_FILE
from yolo_stability.trace import lock_folder, unlock_folder

CHILD = """
import sys, time
from pathlib import Path
from yolo_stability.trace import lock_folder
lock_folder(Path(sys.argv[1]))
print("claimed", flush=True)
time.sleep(600)
"""


def claimed_by_another(folder: Path) -> subprocess.Popen[str]:
    """Let another process claim the folder, and live."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "claimed\n"
    return child


def note(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / LOCK_FILE).read_text())
    return content


def test_a_folder_is_claimed_and_released(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "stability"
    assert lock_folder(folder) is None
    assert note(folder)["pid"] == os.getpid()
    assert lock_folder(folder) is None  # the same process, a second time
    unlock_folder(folder)
    assert list(folder.iterdir()) == []
    unlock_folder(folder)


def test_a_living_run_is_not_disturbed_and_a_dead_one_not_in_the_way(tmp_path: Path) -> None:
    """A killed process is dead, even if no parent ever reads its exit code, as in a container."""
    with claimed_by_another(tmp_path) as child:
        message = (
            rf"process {child.pid}, since .* is training in '{tmp_path.parent}': "
            r".* choose another name=\."
        )
        with pytest.raises(StabilityError, match=message):
            lock_folder(tmp_path)
        message = rf"is training in '{tmp_path}': wait until it ends, or choose another out=\."
        with pytest.raises(StabilityError, match=message):
            lock_folder(tmp_path, shown=tmp_path, option="out")
        unlock_folder(tmp_path)  # not ours to release
        assert note(tmp_path)["pid"] == child.pid
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now, and stays one
        assert lock_folder(tmp_path) is None
        assert note(tmp_path)["pid"] == os.getpid()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times come from /proc")
def test_a_number_that_was_given_to_another_process_is_no_claim(tmp_path: Path) -> None:
    with claimed_by_another(tmp_path) as child:
        (tmp_path / LOCK_FILE).write_text(json.dumps({**note(tmp_path), "born": "1"}))
        assert lock_folder(tmp_path) is None
        child.kill()


def test_without_proc_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS and Windows the start time of a process comes from psutil."""
    monkeypatch.setattr(module, "_PROC", tmp_path / "no proc")
    with claimed_by_another(tmp_path / "run") as child:
        born = module._state(child.pid)
        assert born is not None
        other = {**module._identity(), "pid": child.pid, "born": born[1]}
        for changed, blocks in (({}, True), ({"born": "1.00"}, False), ({"pid": 2**70}, False)):
            (tmp_path / LOCK_FILE).write_text(json.dumps({**other, **changed}))
            if blocks:
                with pytest.raises(StabilityError, match="is training in"):
                    lock_folder(tmp_path)
            else:
                assert lock_folder(tmp_path) is None
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        (tmp_path / LOCK_FILE).write_text(json.dumps(other))
        assert lock_folder(tmp_path) is None
    assert module._state(child.pid) is None
    assert module._identity()["born"] == module._identity()["born"] != ""


def test_a_lock_from_another_machine_is_reported_and_does_not_block(tmp_path: Path) -> None:
    """A run that continued in a new container after the old one was lost looks the same."""
    lock_folder(tmp_path)
    lost = json.dumps({**note(tmp_path), "host": "elsewhere"})
    for shown, named in ((None, tmp_path.parent), (tmp_path, tmp_path)):
        (tmp_path / LOCK_FILE).write_text(lost)
        text = str(lock_folder(tmp_path, shown=shown))
        assert text.startswith(
            f"'{named}' was last used by process {os.getpid()} on elsewhere: "
            "if that process is still training there"
        )
        assert lock_folder(tmp_path) is None


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=40)
    | st.fixed_dictionaries(
        {},
        optional={
            "pid": st.integers() | st.text(max_size=3) | st.none() | st.booleans(),
            "host": st.just(module._identity()["host"]) | st.text(max_size=3) | st.integers(),
            "boot": st.just(module._identity()["boot"]),
            "born": st.text(max_size=3),
        },
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_content_raises_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(module, "_WRITING_SECONDS", 0.0)
    (tmp_path / LOCK_FILE).write_bytes(content)
    lock_folder(tmp_path)  # no process started at any of these times
    assert note(tmp_path)["pid"] == os.getpid()


@pytest.mark.parametrize("where", ["file/stability", "file"])
def test_where_nothing_can_be_written_nothing_is_noted(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("a file")
    assert lock_folder(tmp_path / where) is None
    unlock_folder(tmp_path / where)
