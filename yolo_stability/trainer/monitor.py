"""`StabilityMonitor`: the public monitor, with console output, a figure and a summary table."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from yolo_stability.compat.ultralytics import Trainer
from yolo_stability.config import OWN_KEYS, StabilitySettings
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.best_checkpoint import with_best
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.diagnosis.rescue_policy import Rescuer
from yolo_stability.diagnosis.store import write_diagnosis
from yolo_stability.display.run_picture import draw_run
from yolo_stability.trace import SCHEMA_VERSION, load_trace
from yolo_stability.trace.summary import summarize
from yolo_stability.trainer.base_monitor import Monitor
from yolo_stability.trainer.loggers import SINKS, Sink

__all__ = ["StabilityMonitor", "show"]

_WIDTH = 100


class StabilityMonitor(Monitor):
    """Watches and guards the trainings of a YOLO model or of a custom trainer.

    Example:
        >>> import contextlib, io, tempfile
        >>> from ultralytics import YOLO
        >>> from yolo_stability import StabilityMonitor
        >>> from yolo_stability.data.resolve import resolve_data
        >>> model = YOLO("yolo26n.yaml")
        >>> monitor = StabilityMonitor(guard="skip").attach(model)
        >>> data = resolve_data("shapes", "detect").data  # or any dataset of Ultralytics
        >>> settings = {"epochs": 1, "imgsz": 32, "batch": 8, "nbs": 8, "fraction": [16, 4]}
        >>> quiet = {"device": "cpu", "workers": 0, "plots": False, "verbose": False}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with contextlib.redirect_stdout(io.StringIO()):  # hides the progress bars
        ...         _ = model.train(data=data, project=folder, **settings, **quiet)
        ...     monitor.trace.steps["grad_norm"].is_finite().to_list()
        [True, True]

    Args:
        guard: `skip` skips non-finite steps, `stop` ends the run at the first one, `off` only
            records.
        guard_limit: Consecutive skipped steps allowed; one more stops the run with its last healthy
            state.
        fail_on: `critical` ends the run at the first critical finding of a rule; `never` only
            reports it.
        rescue: `auto` rolls back to the last healthy state after a critical finding and applies a
            remedy chosen by the diagnosed cause; the name of a remedy always applies that remedy;
            `off` does neither.
        rescue_limit: Number of remedies before the run is ended.
        incidents: Number of bad steps that are explained and saved as replayable folders; 0 for
            none.
        watch_every: Sampling interval of weight norms and update ratios, in steps; 0 for never.
        fault: Injected fault such as `nan_grad@3`, for demonstrations.
        clip: Gradient clipping: `norm:10` (stock), `norm:1`, `value:0.5`, `agc:0.01`, `auto:10`,
            `zclip:2.5` or `none`.
        norm: Normalization layers: `batch` (stock), `frozen`, `group`, `layer` or `none`.
        init: Initialization of a new model: `default`, `xavier`, `kaiming`, `orthogonal`, `lsuv` or
            `gain:3`.
        act: Activation of every block, such as `relu`; None for the model's default.
        residual: Whether blocks keep their skip connections.
        depth_mult: Factor for the number of repeats of every block.
        lr_mult: Factor for every learning rate.
        l1: Strength of an L1 penalty on the weights; 0 for none.
        requested: Settings to record as requested; None to record the trainer arguments that differ
            from Ultralytics' defaults.

    Raises:
        ConfigError: An option has an invalid value.
    """

    def __init__(  # noqa: PLR0913 - one parameter per yolo_stability option
        self,
        guard: Literal["off", "skip", "stop"] = "skip",
        *,
        guard_limit: int = 10,
        fail_on: Literal["never", "critical"] = "never",
        rescue: str = "off",
        rescue_limit: int = 3,
        incidents: int = 3,
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
        given = locals()
        super().__init__(
            requested=requested,
            make_sinks=_make_sinks,
            make_policy=_policy,
            **{key: given[key] for key in OWN_KEYS},
        )

    @classmethod
    def from_settings(
        cls,
        settings: StabilitySettings,
        *,
        requested: Mapping[str, Any] | None = None,
        trace_version: int = SCHEMA_VERSION,
    ) -> Self:
        """Return a monitor with validated settings.

        Args:
            settings: Result of `make_settings`.
            requested: Settings to record as requested.
            trace_version: Version of the trace.

        Raises:
            ConfigError: Two settings are incompatible.
        """
        monitor = cls.__new__(cls)
        Monitor.__init__(
            monitor,
            requested=requested,
            make_sinks=_make_sinks,
            make_policy=_policy,
            checked=settings,
            trace_version=trace_version,
        )
        return monitor

    @property
    def trace(self) -> Trace:
        """Trace of the latest training, read from disk.

        Raises:
            StabilityError: No training has started yet.
        """
        return load_trace(self.save_dir)

    def finished(self, save_dir: Path, trainer: Trainer) -> None:
        """Draw `gradient_norms.png` and print the summary table.

        `plots=False` disables the figure, `verbose=False` the table.

        Args:
            save_dir: Run folder.
            trainer: The trainer.
        """
        trace = load_trace(save_dir)
        if not trace.steps.height:
            return
        picture = draw_run(trace) if trainer.args.plots else None
        if picture:
            trainer.on_plot(picture)
        diagnosis = with_best(diagnose_trace(trace), trace)
        write_diagnosis(trace, diagnosis)
        if trainer.args.verbose:
            show(trace, picture, diagnosis)


def _make_sinks() -> tuple[Sink, ...]:
    """Return the sinks of a run; a module-level function, so that a monitor can be pickled."""
    return tuple(SINKS.make_all())


def _policy(settings: StabilitySettings) -> LiveRules:
    """Return the policy of a run; a resumed run keeps the rescue setting of its first session."""
    return (
        LiveRules() if settings.rescue == "off" else Rescuer(settings.rescue, settings.rescue_limit)
    )


def show(trace: Trace, picture: Path | None = None, diagnosis: Diagnosis | None = None) -> None:
    """Print the table of blocks, a one-sentence summary, the diagnosis and the file locations.

    Args:
        trace: Trace from `load_trace`.
        picture: Path of the figure, if there is one.
        diagnosis: Diagnosis of the run; a short form is printed.
    """
    from rich.console import Console

    from yolo_stability.display.diagnosis_text import verdict_lines
    from yolo_stability.display.run_table import run_headline, summary_table

    summary = summarize(trace)
    console = Console(highlight=False)
    console.print()
    console.print(summary_table(summary))
    width = min(console.width, _WIDTH)
    console.print(
        textwrap.fill(run_headline(summary), width, subsequent_indent="  "),
        markup=False,
        soft_wrap=True,
    )
    if diagnosis is not None:
        for line in verdict_lines(diagnosis, trace.path.parent, width):
            console.print(line, soft_wrap=True)
    console.print(f"trace:   {trace.path}", soft_wrap=True)
    if picture:
        console.print(f"picture: {picture}", soft_wrap=True)
