"""Console logs: lines, epochs, tracebacks and ends, of Ultralytics 8.0 to 8.4 and YOLOv5."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from epoch_tables import learning, set_rows
from stock_folders import as_yolov5, console_log, traceback_of, write_run

from yolo_stability import api
from yolo_stability.cli.main import main
from yolo_stability.core.errors import TraceError
from yolo_stability.diagnosis.console_lines import console_lines
from yolo_stability.diagnosis.console_log import read_console_log
from yolo_stability.diagnosis.console_run import ConsoleRun
from yolo_stability.diagnosis.console_traceback import TracebackReader
from yolo_stability.diagnosis.targets import diagnose_run, examine_target


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    file = tmp_path / "console.log"
    file.write_text(text, encoding=encoding)
    return file


def read(tmp_path: Path, text: str, encoding: str = "utf-8") -> ConsoleRun:
    return read_console_log(written(tmp_path, text, encoding))[-1]


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "classify"])
@pytest.mark.parametrize("style", ["8.4", "8.0", "yolov5"])
def test_epochs_are_those_of_the_table(task: str, style: str, tmp_path: Path) -> None:
    columns = learning(6, task=task)
    if style == "yolov5":
        columns = as_yolov5(learning(6))
    run = read(tmp_path, console_log(columns, planned=9, style=style))
    assert (run.yolov5, run.planned, run.epoch, run.done) == (style == "yolov5", 9, 6, 6)
    assert sorted(run.rows) == [1, 2, 3, 4, 5, 6]
    for name, values in columns.items():
        if not name.startswith("val/"):
            logged = [float(run.rows[epoch][name]) for epoch in range(1, 7)]
            assert np.allclose(logged, values, rtol=1e-2), name


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_of_windows(encoding: str, tmp_path: Path) -> None:
    run = read(tmp_path, console_log(learning(4)).replace("\n", "\r\n"), encoding)
    assert (run.done, run.settings["model"]) == (4, "yolo11n.pt")


def test_without_a_terminal_frames_follow_each_other(tmp_path: Path) -> None:
    text = console_log(learning(4)).replace("\r\x1b[K", "")
    assert read(tmp_path, text).rows == read(tmp_path, console_log(learning(4))).rows


def test_settings_are_data(tmp_path: Path) -> None:
    run = read(tmp_path, console_log(learning(2), lr0="1e-3", val=False, cfg="!!python/name:os.x"))
    assert run.settings["lr0"] == 0.001
    assert run.settings["val"] is False
    assert run.settings["cfg"] == "!!python/name:os.x"
    assert "time" not in run.settings


def test_a_run_that_ended_in_order(tmp_path: Path) -> None:
    end = [
        "",
        "6 epochs completed in 0.012 hours.",
        "Validating best.pt...",
        "  all  128  929  1 1 1 1",
    ]
    found = examine_target(written(tmp_path, console_log(learning(6), end))).diagnosis
    assert found.end is not None
    assert (found.end.state, found.end.epochs_done, found.verdict) == ("finished", 6, "stable")
    assert found.best is not None
    assert found.best.epoch == int(np.argmax(learning(6)["metrics/mAP50-95(B)"])) + 1


@pytest.mark.parametrize("words", ["EarlyStopping: Training stopped", "Stopping training"])
def test_early_stopping(words: str, tmp_path: Path) -> None:
    end = [
        f"{words} early as no improvement observed in last 10 epochs. Best results observed at epoch 3, "
        "best model saved as best.pt.",
        "12 epochs completed in 0.1 hours.",
    ]
    file = written(tmp_path, console_log(learning(12), end, planned=100))
    run, found = read_console_log(file)[-1], examine_target(file).diagnosis
    assert (run.patience, run.best_epoch) == (10, 3)
    assert found.end is not None
    assert (found.end.state, found.end.reason, found.end.epochs_planned) == (
        "stopped",
        "patience",
        100,
    )


def test_a_recovery_that_helped_is_a_warning(tmp_path: Path) -> None:
    bad = set_rows(learning(7), "train/box", slice(6, 7), float("nan"))
    text = console_log(bad, ["Loss NaN/Inf detected (attempt 1/3), recovering from last.pt..."])
    text += console_log(learning(12), ["12 epochs completed in 0.1 hours."]).partition(
        " epochs...\n"
    )[2]
    file = written(tmp_path, text)
    assert read_console_log(file)[-1].done == 12
    found = examine_target(file).diagnosis
    assert found.verdict == "stable"
    warning = next(f for f in found.findings if f.rule == "recoveries")
    assert (warning.severity, warning.column, warning.first_epoch) == (
        "warning",
        "train/box_loss",
        7,
    )


def test_a_smaller_batch_is_named(tmp_path: Path) -> None:
    end = "CUDA out of memory with batch={}. Reducing to batch={} and retrying ({}/3)."
    lines = [end.format(32, 16, 1), end.format(16, 8, 2)]
    text = "\n".join([*lines, console_log(learning(8), ["8 epochs completed in 1.0 hours."])])
    found = examine_target(written(tmp_path, text)).diagnosis
    assert found.verdict == "stable"
    batch = next(f for f in found.findings if f.rule == "out_of_memory")
    assert (batch.severity, batch.remedy.split(",")[0]) == ("info", "batch=8")


def test_of_several_runs_the_last_counts_or_that_of_the_folder(tmp_path: Path) -> None:
    first = console_log(learning(5), ["5 epochs completed in 0.1 hours."])
    second = console_log(learning(7, seed=3), traceback_of("ValueError: x")).replace(
        "detect/train", "detect/train2"
    )
    file = written(tmp_path, first + second)
    assert [run.done for run in read_console_log(file)] == [5, 7]
    folder = write_run(tmp_path / "elsewhere" / "train", learning(5))
    end = examine_target(folder, file).diagnosis.end
    assert end is not None
    assert (end.state, end.epochs_done) == ("finished", 5)


def test_a_resumed_run_continues(tmp_path: Path) -> None:
    whole = console_log(learning(9), ["4 epochs completed in 0.1 hours."])
    start, _, rest = whole.partition("Starting training")
    text = console_log(learning(6), traceback_of("KeyboardInterrupt"), planned=9) + start
    text += "Resuming training yolo11n.pt from epoch 6 to 9 total epochs\nStarting training" + rest
    runs = read_console_log(written(tmp_path, text))
    assert [run.done for run in runs] == [9]
    assert (runs[0].exception, runs[0].completed) == (None, 4)


def test_a_log_without_an_epoch(tmp_path: Path) -> None:
    text = console_log(learning(1)).partition("\n\n")[0]
    file = written(tmp_path, "\n".join([text, *traceback_of("RuntimeError: no labels")]))
    found = examine_target(file).diagnosis
    assert (found.verdict, found.end and found.end.state) == ("inconclusive", "exception")
    assert found.why.startswith("no epoch was completed; ended by an exception after 0 of 1 epochs")


def test_a_folder_without_a_table(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "train", learning(3), stripped=None)
    (folder / "results.csv").unlink()
    found = diagnose_run(folder)
    assert (found.verdict, found.findings[0].rule) == ("inconclusive", "no_log")
    assert "no epoch was completed; the run ended after 0 of 3 epochs" in found.why
    text = console_log(learning(1), planned=3).partition("\n\n")[0]
    log = written(
        tmp_path, "\n".join([text, *traceback_of("torch.OutOfMemoryError: CUDA out of memory.")])
    )
    found = examine_target(folder, log).diagnosis
    assert "the device ran out of memory, after 0 of 3 epochs" in found.why


# --- tracebacks -----------------------------------------------------------------------------------


def exception_of(*lines: str) -> tuple[str, str, str | None] | None:
    reader = TracebackReader()
    for line in lines:
        reader.read(line)
    found = reader.exception
    return None if found is None else (found.type, found.message, found.where)


NOTEBOOK = [
    "-" * 75,
    "OutOfMemoryError                          Traceback (most recent call last)",
    "Cell In[7], line 3",
    "      1 from ultralytics import YOLO",
    "----> 3 model.train(data='parts.yaml')",
    "",
    "File /usr/local/lib/python3.10/dist-packages/ultralytics/engine/trainer.py:381, in _do_train(self)",
    "--> 381 self.scaler.scale(self.loss).backward()",
    "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (traceback_of("KeyError: 'box'"), ("KeyError", "'box'", "train.py:31")),
        (traceback_of("a.b.OddError", script="C:\\me\\run.py"), ("OddError", "", "run.py:31")),
        (
            [f"[rank1]: {line}" for line in traceback_of("ValueError: x")],
            ("ValueError", "x", "train.py:31"),
        ),
        (traceback_of("ValueError: x", script="/env/bin/yolo"), ("ValueError", "x", None)),
        (
            [line for line in NOTEBOOK if line],
            ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB", "cell 7:3"),
        ),
        (
            [
                *traceback_of("RuntimeError: CUDA error"),
                *traceback_of("subprocess.CalledProcessError: Command '['python']' returned 1"),
            ],
            ("RuntimeError", "CUDA error", "train.py:31"),
        ),
        (
            ["Exception ignored in: <function D.__del__ at 0x1>", *traceback_of("OSError: gone")],
            None,
        ),
        (
            [
                *traceback_of("RuntimeError: Caught ValueError in DataLoader worker process 0."),
                "Original Traceback (most recent call last):",
                '  File "/code/loader.py", line 7, in load',
                "ValueError: bad image",
            ],
            ("ValueError", "bad image", "loader.py:7"),
        ),
    ],
)  # fmt: skip
def test_tracebacks(lines: list[str], expected: tuple[str, str, str | None] | None) -> None:
    assert exception_of(*lines) == expected


def test_an_exception_after_which_training_continued_is_not_its_end(tmp_path: Path) -> None:
    text = console_log(learning(3), traceback_of("ValueError: a logger failed"))
    text += console_log(learning(6)).partition(" epochs...\n")[2]
    assert read(tmp_path, text).exception is None


# --- bounds ---------------------------------------------------------------------------------------


def test_no_log_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"", b"hello\n", bytes(range(256)) * 50, b"\x1b[31m" * 1000):
        (tmp_path / "x.txt").write_bytes(content)
        assert main(["diagnose", str(tmp_path / "x.txt")]) == 2
        assert "holds no output of an Ultralytics or YOLOv5 training" in capsys.readouterr().err
    assert main(["diagnose", str(tmp_path), f"log={tmp_path / 'none.log'}"]) == 2


def test_log_is_for_stock_runs(tmp_path: Path) -> None:
    file = written(tmp_path, console_log(learning(3)))
    with pytest.raises(TraceError, match="log= is for a run folder"):
        api.diagnose(file, log=file)


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a" * 3_000_000 + "\nb\n")
    lines = list(console_lines(tmp_path / "x"))
    assert max(map(len, lines)) <= 8192
    assert lines[-1] == "b"


@pytest.mark.full
def test_a_huge_log_is_read_at_both_ends(tmp_path: Path) -> None:
    columns = learning(3)
    start, frames = console_log(columns), ""
    _, _, epoch = start.partition(" epochs...\n")
    frames = epoch * 400
    file = tmp_path / "huge.log"
    with file.open("w") as out:
        out.write(start)
        while out.tell() < 400_000_000:
            out.write(frames)
        out.write("\n".join(traceback_of("KeyboardInterrupt")))
    begun = time.monotonic()
    found = examine_target(file).diagnosis
    assert time.monotonic() - begun < 60
    assert found.end is not None
    assert found.end.state == "interrupted"
