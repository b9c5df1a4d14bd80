"""The Python API, which the command line, notebooks and pipelines call."""

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
from yolo_stability.diagnosis.explanations import explain
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
    "explain",
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
    """Measure the gradient flow along the depth on one batch, before any training.

    The profile is compared with that of the stock model on the same batch.

    Args:
        task: detect, pose, ...; None for the task of the model.
        model: Path or name of a model, or a `YOLO` object, which is not modified.
        data: One dataset, as `train` takes it.
        **settings: Model switches (`norm`, `init`, `act`, `residual`, `depth_mult`) and Ultralytics
            keys; by default `imgsz` is 160, `batch` 8 and `mosaic` 0.

    Returns:
        The verdict and the profile.

    Raises:
        ConfigError: A key or value is invalid, or a switch changes nothing in the model.
        DataError: The dataset does not exist or does not fit the task.

    Examples:
        >>> from yolo_stability import probe
        >>> result = probe(model="yolo26n.yaml", data="shapes", norm="none", imgsz=32, batch=2)
        >>> result.verdict
        'vanishing'
        >>> result.blocks[0].name
        'model.0 Conv'
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
        task: detect, pose, ...; None for the task of the model.
        model: Path or name of a model, or a `YOLO` object, which is not modified.
        data: One dataset, as `train` takes it.
        grid: Model switches of each setting; empty for the stock model.
        **overrides: Ultralytics keys.

    Returns:
        One result per setting, in the same order.
    """
    return probe_checked(
        make_probe_request(model=model, data=data, task=task, grid=grid, overrides=overrides)
    )


def draw_probes(results: Sequence[ProbeResult], folder: Path) -> Path:
    """Plot probes of one model side by side into `probe.png`.

    Args:
        results: From `probe_grid`, or `[probe(...)]`.
        folder: Output folder; created if it does not exist.

    Returns:
        Path of the plot.
    """
    from yolo_stability.studies.probe.figure import draw_probe_figure

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "probe.png"
    draw_probe_figure(results, path)
    return path


def diagnose(path: str | Path, *, log: str | Path | None = None) -> Diagnosis:
    """Diagnose a run, an incident or a checkpoint: what went wrong, where, since when and why.

    Args:
        path: A run folder, recorded by this package (`diagnosis.json` is written into it) or by
            stock Ultralytics, or its `results.csv`; a console log of Ultralytics or YOLOv5; an
            incident folder, which is replayed; or a checkpoint, which is audited without executing
            any code from it.
        log: What a stock run printed to the console: only that shows why it ended.

    Returns:
        Verdict, cause and findings.

    Raises:
        StabilityError: The path is none of these, or cannot be read.

    Examples:
        >>> import math, tempfile
        >>> from pathlib import Path
        >>> import polars as pl
        >>> from yolo_stability import diagnose
        >>> run = Path(tempfile.mkdtemp())  # as stock Ultralytics leaves it, one row per epoch
        >>> losses = pl.DataFrame({"epoch": range(1, 10), "train/box_loss": [1.5] * 8 + [math.nan]})
        >>> losses.write_csv(run / "results.csv")
        >>> diagnose(run).verdict
        'failed'
    """
    return examine(path, log=log).diagnosis


def examine(path: str | Path, *, log: str | Path | None = None) -> Examination:
    """Diagnose like `diagnose`, and return the supporting data as well.

    Args:
        path: As for `diagnose`.
        log: As for `diagnose`.

    Returns:
        The diagnosis; for a checkpoint also its audit, for an incident also whether it recurred.

    Raises:
        StabilityError: The path cannot be diagnosed or read.
    """
    return examine_target(_place(path), None if log is None else _place(log))


def _place(path: str | Path) -> Path:
    """Return a path; `~nobody` stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


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
    """Run a suite and write its report; repeat the call to resume.

    Args:
        suite: Name of a built-in suite, or a YAML file.
        out: Output folder; `runs/benchmark/<suite>` by default.
        **changes: `jobs` (parallel runs), `seeds`, `arms`, `task`, `model`, `data`, `executor`
            (`local`), and every key of `train`, applied to all arms.

    Returns:
        Runs, comparisons with the control, and the folder, which contains `report.html`.

    Raises:
        ConfigError: The suite or a change is invalid.
        StabilityError: Another benchmark is running in the folder.

    Examples:
        >>> from yolo_stability import benchmark
        >>> result = benchmark("demo", jobs=2)  # doctest: +SKIP
        >>> benchmark("demoo")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        yolo_stability.core.errors.ConfigError: ... Did you mean 'demo'? ...
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
    """Repeat a benchmark, or a sample of it, and compare the traces step by step.

    Args:
        folder: Folder of the benchmark.
        sample: Number of runs, spread over the plan; None for all.
        on_check: Called with the result of each checked run.

    Returns:
        The identical runs, and the differences of the others.

    Raises:
        ConfigError: The sample is invalid.
        TraceError: The folder contains no finished benchmark.
    """
    return verify_benchmark(Path(folder), sample=sample, on_check=on_check)


def compare(*runs: str | Path, out: str | Path = "runs/compare") -> BenchmarkResult:
    """Write a benchmark report from existing runs.

    Args:
        *runs: Run folders, the control first; stock runs of Ultralytics or YOLOv5 contribute the
            columns of `results.csv`, and get the verdict of `diagnose`. Given a single benchmark
            folder, its report is written again.
        out: Output folder of the report.

    Returns:
        Runs, comparisons with the control, and the folder, which contains `report.html`.

    Raises:
        ConfigError: There are too few runs, or `out` contains something else.
        TraceError: A folder is not a run.

    Examples:
        >>> import math, tempfile
        >>> from pathlib import Path
        >>> import polars as pl
        >>> from yolo_stability import compare
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name, last in (("control", 1.4), ("hot", math.nan)):
        ...     (folder / name).mkdir()
        ...     losses = pl.DataFrame({"epoch": range(9), "train/box_loss": [1.5] * 8 + [last]})
        ...     losses.write_csv(folder / name / "results.csv")
        ...     _ = (folder / name / "args.yaml").write_text("{task: detect, model: yolo26n.yaml}")
        >>> result = compare(folder / "control", folder / "hot", out=folder / "report")
        >>> [run.arm for run in result.runs]
        ['control', 'hot']
        >>> (result.folder / "report.html").is_file()
        True
    """
    from yolo_stability.report.write import write_report

    result = compare_runs(runs, Path(out))
    assert result.folder is not None
    write_report(result.folder)
    return result


def frontier(axis: str, *, out: str | Path | None = None, **options: Any) -> FrontierResult:
    """Find how far one numeric key can go before training is unstable; repeat the call to resume.

    Args:
        axis: A numeric key of this package or of Ultralytics, such as `lr_mult`.
        out: Output folder; `runs/frontier/<axis>` by default.
        **options: `start` and `end` of the axis, the stable end first; `resolution`, the largest
            factor between adjacent values (1.5), or `grid`, the number of values to run; `seeds`, a
            number or a list; `task`, `jobs`, `executor`; and every key of `train`, which overrides
            the scenario `control`. Several values, in a tuple or separated by commas in a string,
            make a grid of settings.

    Returns:
        Every run and the edge of every setting; the folder contains `frontier.json` and
        `frontier.png`.

    Raises:
        ConfigError: A key or value is invalid.
        StabilityError: Another search is running in the folder.

    Examples:
        >>> from yolo_stability import frontier
        >>> result = frontier("lr_mult", jobs=2)  # doctest: +SKIP
        >>> frontier("lr_mul")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        yolo_stability.core.errors.ConfigError: ... Did you mean 'lr_mult'? ...
    """
    from yolo_stability.studies.frontier.run import run_frontier

    return run_frontier(axis, out=out, **options)
