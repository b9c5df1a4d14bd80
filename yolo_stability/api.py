"""The one facade: command line, notebooks and pipelines call these functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.compare import compare_runs
from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.benchmarks.verify import Check, Verification, verify_benchmark
from yolo_stability.config import OWN_KEYS
from yolo_stability.core.findings import Diagnosis
from yolo_stability.diagnosis.bundle import Bundle, write_bundle
from yolo_stability.diagnosis.targets import Examination, diagnose_run, examine_target
from yolo_stability.studies.frontier.result import FrontierResult
from yolo_stability.studies.mechanics.run import mechanics
from yolo_stability.studies.probe.request import make_probe_request
from yolo_stability.studies.probe.result import ProbeResult
from yolo_stability.studies.probe.run import probe_checked
from yolo_stability.studies.run_benchmark import run_benchmark
from yolo_stability.trainer.monitor import StabilityMonitor
from yolo_stability.trainer.train import train, train_checked

__all__ = [
    "StabilityMonitor",
    "benchmark",
    "bundle",
    "compare",
    "diagnose",
    "draw_probes",
    "examine",
    "frontier",
    "mechanics",
    "probe",
    "probe_checked",
    "probe_grid",
    "train",
    "train_checked",
    "verify",
]


def probe(
    task: str | None = None, *, model: str | Path | Any, data: str | Path, **settings: Any
) -> ProbeResult:
    """Pass one batch forward and backward, before any training, and judge how gradients flow along the depth.

    Args:
        task: detect, pose, ...; None to take the model's own.
        model: Path or name of a model, or a `YOLO` object, which stays as it is.
        data: Whatever `train` takes as one dataset.
        **settings: Switches that act on the model (`norm`, `init`, `act`, `residual`, `depth_mult`), and keys of
            Ultralytics; `imgsz` is 160, `batch` 8 and `mosaic` 0 unless given.

    Returns:
        The verdict against the stock profile of the same model, and the profile.

    Raises:
        ConfigError: A key or value is impossible, or a switch finds nothing in the model to change.
        DataError: The dataset does not exist or does not fit the task.
    """
    switches = {key: settings.pop(key) for key in OWN_KEYS if key in settings}
    return probe_grid(task, model=model, data=data, grid=[switches], **settings)[0]


def probe_grid(
    task: str | None = None,
    *,
    model: str | Path | Any,
    data: str | Path,
    grid: Sequence[Mapping[str, Any]],
    **overrides: Any,
) -> tuple[ProbeResult, ...]:
    """Probe several settings on the same batch; see `probe`.

    Args:
        task: detect, pose, ...; None to take the model's own.
        model: Path or name of a model, or a `YOLO` object, which stays as it is.
        data: Whatever `train` takes as one dataset.
        grid: Switches by key of each setting; empty for the stock model.
        **overrides: Keys of Ultralytics.

    Returns:
        One result a setting, in order.
    """
    return probe_checked(
        make_probe_request(model=model, data=data, task=task, grid=grid, overrides=overrides)
    )


def draw_probes(results: Sequence[ProbeResult], folder: Path) -> Path:
    """Draw probes of one model side by side into `probe.png`.

    Args:
        results: From `probe_grid`, or `[probe(...)]`.
        folder: Where to put it; made if it does not exist.

    Returns:
        Path of the picture.
    """
    from yolo_stability.studies.probe.figure import draw_probe_figure

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "probe.png"
    draw_probe_figure(results, path)
    return path


def diagnose(path: str | Path) -> Diagnosis:
    """Say what went wrong, where, since when and why.

    Args:
        path: A run folder, ours (`diagnosis.json` is written into it) or a plain one of Ultralytics; an incident
            folder, which is replayed; or a checkpoint, which is audited without running anything from it.

    Returns:
        Verdict, cause and findings.

    Raises:
        StabilityError: Nothing of these is there, or it cannot be read.
    """
    return examine(path).diagnosis


def examine(path: str | Path) -> Examination:
    """Diagnose as `diagnose` does, and return all that is known beside it.

    Args:
        path: As `diagnose` takes it.

    Returns:
        The diagnosis; of a checkpoint its audit, of an incident whether it came again.

    Raises:
        StabilityError: Nothing that could be diagnosed is there, or it cannot be read.
    """
    try:
        place = Path(path).expanduser()
    except RuntimeError:  # `~nobody`
        place = Path(path)
    return examine_target(place)


def bundle(run: str | Path, *, out: str | Path | None = None) -> Bundle:
    """Write a run into one anonymous file below 1 MB, for a bug report.

    Args:
        run: A run folder, recorded by this package or a plain one of Ultralytics.
        out: The file; `bundle-<run id>.zip` in the working folder if None.

    Returns:
        Where the file is and what is in it.

    Raises:
        StabilityError: There is no run, or it cannot be read.
    """
    folder = Path(run).expanduser()
    return write_bundle(folder, diagnose_run(folder), None if out is None else Path(out))


def benchmark(suite: str, *, out: str | Path | None = None, **changes: Any) -> BenchmarkResult:
    """Run a suite and write its report; the same call again resumes.

    Args:
        suite: Name of a shipped suite, or a YAML file.
        out: Folder; `runs/benchmark/<suite>` by default.
        **changes: `jobs` (runs at once), `seeds`, `arms`, `task`, `model`, `data`, `executor` (`local`), and every key
            of `train` for all arms.

    Returns:
        Runs, comparisons with the control, and the folder, which holds `report.html`.

    Raises:
        ConfigError: The suite or a change is impossible.
        StabilityError: Another benchmark runs in that folder.
    """
    from yolo_stability.report.write import write_report

    result, folder = run_benchmark(suite, out=out, **changes)
    write_report(folder)
    return replace(result, folder=folder)


def verify(
    folder: str | Path,
    *,
    sample: int | None = None,
    on_check: Callable[[Check], None] | None = None,
) -> Verification:
    """Run a benchmark, or a sample of it, again and compare step by step.

    Args:
        folder: Of the benchmark.
        sample: How many runs, spread over the plan; None for all.
        on_check: Called with each run as it is checked.

    Returns:
        What was identical, and where it was not, what differs.

    Raises:
        ConfigError: The sample is impossible.
        TraceError: The folder is not that of a finished benchmark.
    """
    return verify_benchmark(Path(folder), sample=sample, on_check=on_check)


def compare(*runs: str | Path, out: str | Path = "runs/compare") -> BenchmarkResult:
    """Write the report of a benchmark from any runs at hand.

    Args:
        *runs: Run folders, the control first; plain ones of Ultralytics bring what `results.csv` can tell. One
            benchmark folder alone: its report is drawn again.
        out: Where the report goes.

    Returns:
        Runs, comparisons with the control, and the folder, which holds `report.html`.

    Raises:
        ConfigError: There are too few runs, or `out` holds something else.
        TraceError: A folder is no run.
    """
    from yolo_stability.report.write import write_report

    result = compare_runs(runs, Path(out))
    assert result.folder is not None
    write_report(result.folder)
    return result


def frontier(axis: str, *, out: str | Path | None = None, **asked: Any) -> FrontierResult:
    """Find how far one number of a recipe can go before training is no longer stable; the same call again resumes.

    Args:
        axis: A numeric key, ours or Ultralytics', such as `lr_mult`.
        out: Folder; `runs/frontier/<axis>` by default.
        **asked: `start` and `end` of the axis, the stable end first; `resolution`, the largest factor between
            neighbours (1.5), or `grid`, to run so many values; `seeds`, how many or a list; `task`, `jobs`, `executor`;
            and every key of `train` over the recipe of the scenario `control`: several values in a tuple, or with
            commas in a text, make a grid of settings.

    Returns:
        Every run and the edge of every setting; the folder holds `frontier.json` and `frontier.png`.

    Raises:
        ConfigError: A key or value is impossible.
        StabilityError: Another search runs in that folder.
    """
    from yolo_stability.studies.frontier.run import run_frontier

    return run_frontier(axis, out=out, **asked)
