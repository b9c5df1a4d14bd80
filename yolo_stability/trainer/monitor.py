"""`StabilityMonitor`: the monitor that people attach, with the console, the picture and the table of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from yolo_stability.compat.ultralytics import Trainer
from yolo_stability.config import OWN_KEYS, StabilitySettings
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.diagnosis.rescue_policy import Rescuer
from yolo_stability.diagnosis.store import write_diagnosis
from yolo_stability.display.run_picture import draw_run
from yolo_stability.trace import load_trace
from yolo_stability.trace.summary import summarize
from yolo_stability.trainer.base_monitor import Monitor
from yolo_stability.trainer.loggers import SINKS, Sink

__all__ = ["StabilityMonitor", "show"]

_WIDTH = 100


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
        fail_on: `critical` ends the run at the first critical finding of a rule, `never` only tells of it.
        rescue: `auto` goes back to the last healthy state when a rule finds something critical, and applies a remedy
            chosen by the diagnosed cause; `off` does not. The name of a remedy always takes that one.
        rescue_limit: Remedies before a run is given up.
        incidents: Bad steps that are explained and kept as folders to replay; 0 for none.
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
        cls, settings: StabilitySettings, *, requested: Mapping[str, Any] | None = None
    ) -> Self:
        """Return a monitor with settings that have been checked.

        Args:
            settings: From `make_settings`.
            requested: What to record as asked for.

        Raises:
            ConfigError: A setting does not fit the others.
        """
        monitor = cls.__new__(cls)
        Monitor.__init__(
            monitor,
            requested=requested,
            make_sinks=_make_sinks,
            make_policy=_policy,
            checked=settings,
        )
        return monitor

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
        picture = draw_run(trace) if trainer.args.plots else None
        if picture:
            trainer.on_plot(picture)
        diagnosis = diagnose_trace(trace)
        write_diagnosis(trace, diagnosis)
        if trainer.args.verbose:
            show(trace, picture, diagnosis)


def _make_sinks() -> tuple[Sink, ...]:
    """Return the sinks of a run; a function, so that a monitor can be sent to other processes."""
    return tuple(SINKS[name]() for name in SINKS)


def _policy(settings: StabilitySettings) -> LiveRules:
    """Return what judges a run; a resumed one keeps the rescue that its first sitting was told of."""
    return (
        LiveRules() if settings.rescue == "off" else Rescuer(settings.rescue, settings.rescue_limit)
    )


def show(trace: Trace, picture: Path | None = None, diagnosis: Diagnosis | None = None) -> None:
    """Print the table of blocks, the run in one sentence, its diagnosis, and where things are.

    Args:
        trace: From `load_trace`.
        picture: Path of its picture, if there is one.
        diagnosis: What was found; told in short.
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
