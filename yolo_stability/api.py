"""The one facade: command line, notebooks and pipelines call these functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.config import OWN_KEYS, ignored_by_auto
from yolo_stability.data.resolve import resolve_data
from yolo_stability.errors import TraceError
from yolo_stability.flow import ProbeResult
from yolo_stability.integration.arguments import check_keys, check_model, check_values
from yolo_stability.integration.compat import Trainer
from yolo_stability.integration.monitor import Monitor
from yolo_stability.integration.probing import run_grid, run_probe
from yolo_stability.integration.runner import final_metrics, load_model, run_training
from yolo_stability.mechanics import mechanics
from yolo_stability.sinks.console import ConsoleSink
from yolo_stability.summary import heat_matrix, summarise
from yolo_stability.trace import FOLDER, empty_trace, load_trace
from yolo_stability.types import RunResult, Trace

__all__ = [
    "StabilityMonitor",
    "draw",
    "draw_probes",
    "mechanics",
    "probe",
    "probe_grid",
    "show",
    "show_probes",
    "train",
]

PICTURE = "gradient_norms.png"


class StabilityMonitor(Monitor):
    """Watches and guards the trainings of a YOLO model, or a trainer of your own.

    Example:
        >>> from ultralytics import YOLO
        >>> from yolo_stability import StabilityMonitor
        >>> model = YOLO("yolo26n.yaml")
        >>> monitor = StabilityMonitor(guard="skip").attach(model)
        >>> model.train(data="coco8.yaml", epochs=3)  # doctest: +SKIP
        >>> monitor.trace.steps["grad_norm"]  # doctest: +SKIP

    Args:
        guard: `skip` leaves out a step that is not finite, `stop` ends the run at the first one, `off` only watches.
        guard_limit: More skips in a row than this stop the run with its last healthy state.
        watch_every: Sampling of weight norm and update ratio, in steps; 0 for never.
        fault: Deliberate damage such as `nan_grad@3`, for demonstrations.
        clip: What bounds the gradient: `norm:10` (stock), `norm:1`, `value:0.5`, `agc:0.01`, `auto:10`, `zclip:2.5`
            or `none`.
        norm: What stands in the place of BatchNorm: `batch`, `frozen`, `group`, `layer` or `none`.
        init: Weights of a new model: `default`, `xavier`, `kaiming`, `orthogonal`, `lsuv` or `gain:3`.
        act: Activation of every block, such as `relu`; None for the model's own.
        residual: False for no skip connections inside blocks.
        depth_mult: Times as many repeats of every block.
        lr_mult: Every learning rate times this factor.
        l1: Strength of an L1 penalty on the weights.
        requested: What to record as asked for; None to take what differs from Ultralytics' defaults.

    Raises:
        ConfigError: A value is impossible.
    """

    def __init__(  # noqa: PLR0913 - every own key by its name
        self,
        guard: str = "skip",
        *,
        guard_limit: int = 10,
        watch_every: int = 10,
        fault: str | None = None,
        clip: str | None = "norm:10",
        norm: str | None = "batch",
        init: str = "default",
        act: str | None = None,
        residual: bool = True,
        depth_mult: float = 1.0,
        lr_mult: float = 1.0,
        l1: float = 0.0,
        requested: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            requested=requested,
            make_sinks=_console_sinks,
            guard=guard,
            guard_limit=guard_limit,
            watch_every=watch_every,
            fault=fault,
            clip=clip,
            norm=norm,
            init=init,
            act=act,
            residual=residual,
            depth_mult=depth_mult,
            lr_mult=lr_mult,
            l1=l1,
        )

    @property
    def trace(self) -> Trace:
        """Trace of the latest training, read from disk.

        Raises:
            StabilityError: Nothing has been trained yet.
        """
        return load_trace(self.save_dir)

    def finished(self, save_dir: Path, trainer: Trainer) -> None:
        """Draw `gradient_norms.png` (unless `plots=False`) and print the table (unless `verbose=False`)."""
        trace = load_trace(save_dir)
        if not trace.steps.height:
            return
        picture = draw(trace) if trainer.args.plots else None
        if picture:
            trainer.on_plot(picture)
        if trainer.args.verbose:
            show(trace, picture)


def train(
    task: str | None = None,
    *,
    model: str | Path | Any,
    data: str | Path | Sequence[str | Path] | None = None,
    **overrides: Any,
) -> RunResult:
    """Train a YOLO model as `model.train(...)` does, watched and guarded.

    Args:
        task: detect, pose, ...; None to take the model's own.
        model: Path or name of a model (`yolo26n.yaml`, `last.pt`), or a `YOLO` object.
        data: Whatever Ultralytics takes, a folder in COCO's own layout, or the embedded sets `shapes` (detect) and
            `figures` (pose). Several in a list are trained on one after the other from the same weights, as
            Ultralytics does; the result is that of the last one. May be left out only to resume.
        overrides: Every key of Ultralytics' training, and every one of `StabilityMonitor` (`guard`, `clip`, `norm`,
            `lr_mult`, ...); `trainer` may be a trainer class of your own.

    Returns:
        Run folder, trace and final metrics; `stopped` says why the guard ended the run, if it did.

    Raises:
        ConfigError: A key or value is impossible, or the model does not exist.
        DataError: The dataset does not exist or does not fit the task.
    """
    trainer_class = overrides.pop("trainer", None)
    own = {key: overrides.pop(key) for key in OWN_KEYS if key in overrides}
    overrides = check_values(check_keys(overrides, ()))
    if isinstance(model, str | Path):
        check_model(str(model))
    ignored = ignored_by_auto(overrides)
    yolo = load_model(model, task)
    requested = {"task": yolo.task, "model": _text(model, yolo), "data": data, **overrides}
    monitor = StabilityMonitor(requested=requested, **own)
    if ignored:
        print(f"WARNING: {ignored}", file=sys.stderr)
    if data is not None:
        overrides["data"] = _resolve(data, yolo.task)
    run_training(yolo, monitor, overrides, trainer_class)
    return RunResult(
        save_dir=monitor.save_dir,
        trace=_read_back(monitor),
        metrics=final_metrics(yolo),
        stopped=monitor.stopped,
    )


def _read_back(monitor: StabilityMonitor) -> Trace:
    """Return the trace of a finished training; an empty one if the disk did not even take its header."""
    try:
        return monitor.trace
    except TraceError as error:
        if monitor.header is None:
            raise
        print(f"WARNING: nothing of this run was recorded. {error}", file=sys.stderr)
        return empty_trace(monitor.save_dir / FOLDER, monitor.header)


def _resolve(data: str | Path | Sequence[str | Path], task: str) -> str | list[str]:
    """Return what to hand to Ultralytics, and print what was imported."""
    if not isinstance(data, str | Path):
        return [str(_resolve(one, task)) for one in data]
    resolved = resolve_data(data, task)
    for note in resolved.notes:
        print(f"data: {note}")
    return resolved.data


def _console_sinks() -> tuple[ConsoleSink]:
    """Return the sinks of a run; a function, so that a monitor can be sent to other processes."""
    return (ConsoleSink(),)


def _text(model: Any, yolo: Any) -> str:
    """Return the name of the model for the header."""
    return os.fspath(model) if isinstance(model, str | Path) else str(yolo.overrides.get("model") or type(model))


def draw(trace: Trace) -> Path:
    """Draw a run's `gradient_norms.png` into its `stability/` folder.

    Args:
        trace: From `load_trace`.

    Returns:
        Path of the picture.
    """
    from yolo_stability.report.heatmap import draw_heatmap
    from yolo_stability.report.labels import run_title
    from yolo_stability.report.table import headline

    summary, path = summarise(trace), trace.path / PICTURE
    draw_heatmap(
        heat_matrix(trace), path, title=run_title(trace.header), note=headline(summary), clip_norm=summary.clip_norm
    )
    return path


def show(trace: Trace, picture: Path | None = None) -> None:
    """Print the table of blocks, the run in one sentence, and where things are.

    Args:
        trace: From `load_trace`.
        picture: Path of its picture, if there is one.
    """
    from rich.console import Console

    from yolo_stability.report.table import headline, summary_table

    summary = summarise(trace)
    console = Console(highlight=False)
    console.print()
    console.print(summary_table(summary))
    console.print(headline(summary))
    console.print(f"trace:   {trace.path}", soft_wrap=True)
    if picture:
        console.print(f"picture: {picture}", soft_wrap=True)


def probe(task: str | None = None, *, model: str | Path | Any, data: str | Path, **settings: Any) -> ProbeResult:
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
    return run_probe(model=model, data=data, task=task, **settings)


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
    return run_grid(model=model, data=data, task=task, grid=grid, **overrides)


def draw_probes(results: Sequence[ProbeResult], folder: Path) -> Path:
    """Draw probes of one model side by side into `probe.png`.

    Args:
        results: From `probe_grid`, or `[probe(...)]`.
        folder: Where to put it; made if it does not exist.

    Returns:
        Path of the picture.
    """
    from yolo_stability.report.probe import draw_probes as draw_picture

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "probe.png"
    draw_picture(results, path)
    return path


def show_probes(results: Sequence[ProbeResult], picture: Path | None = None) -> None:
    """Print probes side by side, the verdicts and their reasons.

    Args:
        results: From `probe_grid`, or `[probe(...)]`.
        picture: Path of their picture, if there is one.
    """
    from rich.console import Console

    from yolo_stability.report.probe import probe_lines, probe_table

    console = Console(highlight=False)
    console.print()
    console.print(probe_table(results))
    for line in probe_lines(results):
        console.print(line, markup=False)
    if picture:
        console.print(f"picture: {picture}", soft_wrap=True)
