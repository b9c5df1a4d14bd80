"""Signal handlers are installed when needed and always restored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from yolo_stability.core import signals as interrupts
from yolo_stability.core.signals import orderly_interrupts, shielded

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Whatever a test does, the session's handlers come back."""
    before = {n: signal.getsignal(n) for n in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    """Signal this process; the handler runs before the next line."""
    signal.raise_signal(number)


@pytest.mark.parametrize("number", BOTH)
def test_either_signal_raises_and_the_handlers_come_back(number: int) -> None:
    before = [signal.getsignal(n) for n in BOTH]
    with pytest.raises(KeyboardInterrupt), orderly_interrupts():
        send(number)
    assert [signal.getsignal(n) for n in BOTH] == before


def test_a_second_signal_only_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    written = False
    with orderly_interrupts():
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            send(signal.SIGINT)
            written = True
    assert written
    assert "is being written" in capfd.readouterr().err


def test_who_insists_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE", 0.0)
    with orderly_interrupts():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)


def test_a_process_that_ends_ignores_what_comes_late() -> None:
    with orderly_interrupts(until_exit=True), pytest.raises(KeyboardInterrupt):
        send(signal.SIGTERM)
    assert [signal.getsignal(n) for n in BOTH] == [signal.SIG_IGN] * 2


def test_one_that_was_not_interrupted_does_not() -> None:
    before = [signal.getsignal(n) for n in BOTH]
    with orderly_interrupts(until_exit=True):
        pass
    assert [signal.getsignal(n) for n in BOTH] == before


def test_a_forked_child_dies_of_sigterm_as_if_nobody_had_been_there() -> None:
    with orderly_interrupts():
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


def test_other_threads_change_nothing() -> None:
    before, seen = [signal.getsignal(n) for n in BOTH], []

    def work() -> None:
        with orderly_interrupts(), shielded():
            seen.append([signal.getsignal(n) for n in BOTH])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_an_interrupt_waits_for_the_shield() -> None:
    written = []

    def write() -> None:
        with shielded():
            send(signal.SIGINT)
            send(signal.SIGINT)
            written.append(True)

    with pytest.raises(KeyboardInterrupt):
        write()
    assert written == [True]


def test_the_shield_leaves_sigterm_alone_where_nobody_handles_it() -> None:
    code = (
        "import signal; from yolo_stability.core.signals import shielded\n"
        "with shielded(): signal.raise_signal(signal.SIGTERM); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


def test_the_package_handles_no_signal_by_being_imported() -> None:
    code = (
        "import signal; before = [signal.getsignal(n) for n in (2, 15)]\n"
        "import yolo_stability.api, yolo_stability.cli.main\n"
        "assert [signal.getsignal(n) for n in (2, 15)] == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
