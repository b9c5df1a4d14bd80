"""A process that has imported torch and Ultralytics once, and forks a run from itself whenever it is asked.

Imports are most of what a run needs before its first step. A forked run is a process and a group of its own, as one
that was started anew is: it dies, hangs and grows alone. When the benchmark dies, the socket closes, this process
ends, and the runs end after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

__all__ = ["ForkServer", "ForkedRun", "serve"]

_LOOK_SECONDS = 0.05
_PATIENCE = 120.0
_LOST = -9  # as after SIGKILL, a name that Windows lacks


class ForkedRun:
    """A forked run, with what `subprocess.Popen` would offer of it.

    Args:
        pipe: Where its number comes from, and how it ended; owned by this object.

    Attributes:
        pid: Number of the process and of its group.
        returncode: How it ended, as `Popen` says it; None while it runs.
    """

    def __init__(self, pipe: int) -> None:
        self._lines = os.fdopen(pipe, "rb", buffering=0)
        first = self._lines.readline() if select.select([pipe], [], [], _PATIENCE)[0] else b""
        if not first:
            self._lines.close()  # should it be forked after all, it ends at once: nobody listens to its number
            raise OSError("the process that forks runs is gone")
        self.pid = int(first)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: It still runs after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._lines], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            line = self._lines.readline()
            if not line:  # who would know is dead; its runs follow within a second, this one now
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            self.returncode = int(line) if line else _LOST
            self._lines.close()
        return self.returncode


class ForkServer:
    """Starts the process on first use, and asks it for runs; usable by several threads.

    Args:
        environment: Environment of the runs.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def fork(self, folder: Path, log: int) -> ForkedRun:
        """Start a run.

        Args:
            folder: Of the run; holds `spec.json`.
            log: Descriptor of the file that takes what it prints.

        Raises:
            OSError: It cannot be: this is no Linux, or the process has died.
        """
        if not sys.platform.startswith("linux"):  # elsewhere libraries do not survive a fork
            raise OSError("runs are forked on Linux only")
        with self._lock:
            if self._socket is None:
                self._start()
            assert self._socket is not None
            read, write = os.pipe()
            try:
                socket.send_fds(self._socket, [json.dumps(str(folder)).encode()], [log, write])
            except OSError:
                os.close(read)
                raise
            finally:
                os.close(write)
        return ForkedRun(read)

    def close(self) -> None:
        """End the process; runs that it still has end after it."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.kill()  # it may be importing, and has nothing to put in order
            self._process.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "yolo_stability.benchmarks.process.worker",
                    "--serve",
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours


def serve(connection: socket.socket, run: Callable[[Path], int]) -> None:
    """Fork a run for each request until the other side closes, and say how each of them ends.

    Args:
        connection: Where requests come from.
        run: What a forked process does with a folder; returns the exit code.
    """
    os.environ["YOLO_STABILITY_PARENT"] = str(os.getpid())  # without which a run ends
    runs: dict[int, int] = {}  # number of the process, and the pipe to whoever asked for it
    while True:
        ready, _, _ = select.select([connection], [], [], _LOOK_SECONDS if runs else None)
        if ready:
            request, fds, _, _ = socket.recv_fds(connection, 65536, 2)
            if not request:
                return
            log, pipe = fds
            pid = os.fork()
            if not pid:
                connection.close()
                for other in runs.values():
                    os.close(other)
                _become(Path(json.loads(request)), log, pipe, run)
            os.close(log)
            runs[pid] = pipe
        for pid, code in _ended(runs):
            with (
                contextlib.suppress(BrokenPipeError),
                os.fdopen(runs.pop(pid), "wb", buffering=0) as told,
            ):
                told.write(f"{code}\n".encode())


def _ended(runs: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Yield number and exit code of the runs that have ended."""
    for pid in list(runs):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            yield pid, os.waitstatus_to_exitcode(status)


def _become(folder: Path, log: int, pipe: int, run: Callable[[Path], int]) -> None:
    """Be a run of its own from here on; never returns."""
    code = 1
    try:
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.write(pipe, f"{os.getpid()}\n".encode())
        os.close(pipe)
        code = run(folder)
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
