"""Fork server: a process that imports torch and Ultralytics once and forks runs on request.

Imports dominate the startup time of a run. A forked run is a separate process in its own process
group, so that its crashes, hangs and memory use do not affect other runs. When the benchmark dies,
the socket closes, the fork server ends, and the runs end after it.
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

_POLL_SECONDS = 0.05
_PATIENCE = 120.0
_LOST = -9  # return code after SIGKILL, which is not defined on Windows


class ForkedRun:
    """A forked run, with a subset of the interface of `subprocess.Popen`.

    Args:
        pipe: Descriptor from which the process ID and the return code are read; owned by this
            object.

    Attributes:
        pid: ID of the process and of its group.
        returncode: Return code as in `Popen`; None while the process runs.
    """

    def __init__(self, pipe: int) -> None:
        self._lines = os.fdopen(pipe, "rb", buffering=0)
        first = self._lines.readline() if select.select([pipe], [], [], _PATIENCE)[0] else b""
        if not first:
            self._lines.close()  # a run forked later ends at once, since it cannot write its ID
            raise OSError("the fork server has ended")
        self.pid = int(first)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the return code; None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end and return its return code.

        Args:
            timeout: Timeout in seconds; None to wait without limit.

        Raises:
            subprocess.TimeoutExpired: The process still runs after the timeout.
        """
        if self.returncode is None:
            if not select.select([self._lines], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            line = self._lines.readline()
            if not line:  # the fork server died; its runs end within a second, this one now
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            self.returncode = int(line) if line else _LOST
            self._lines.close()
        return self.returncode


class ForkServer:
    """Client of the fork server process, which it starts on first use; thread-safe.

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
            folder: Run folder, which contains `spec.json`.
            log: Descriptor of the file for the run's output.

        Raises:
            OSError: The system is not Linux, or the fork server has died.
        """
        if not sys.platform.startswith("linux"):  # on other systems libraries do not survive a fork
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
        """End the fork server; its remaining runs end after it."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.kill()  # it may still be importing, and has nothing to clean up
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
    """Fork a run for each request until the connection closes, and report each return code.

    Args:
        connection: Socket that requests arrive on.
        run: Executed by the forked process with the run folder; returns the exit code.
    """
    os.environ["YOLO_STABILITY_PARENT"] = str(os.getpid())  # a run ends when this process ends
    runs: dict[int, int] = {}  # pipe to the client by process ID
    while True:
        ready, _, _ = select.select([connection], [], [], _POLL_SECONDS if runs else None)
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
                _run_child(Path(json.loads(request)), log, pipe, run)
            os.close(log)
            runs[pid] = pipe
        for pid, code in _ended(runs):
            with (
                contextlib.suppress(BrokenPipeError),
                os.fdopen(runs.pop(pid), "wb", buffering=0) as pipe_file,
            ):
                pipe_file.write(f"{code}\n".encode())


def _ended(runs: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Yield process ID and exit code of the runs that have ended."""
    for pid in list(runs):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            yield pid, os.waitstatus_to_exitcode(status)


def _run_child(folder: Path, log: int, pipe: int, run: Callable[[Path], int]) -> None:
    """Execute a run in the forked process; never returns."""
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
