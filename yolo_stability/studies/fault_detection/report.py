"""Renders the fault benchmark as Markdown and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from yolo_stability.display.picture import png_of
from yolo_stability.display.style import BAD, FAINT, INK, RC

if TYPE_CHECKING:
    from yolo_stability.studies.fault_detection.metrics import (
        CauseScore,
        DetectorScore,
        HalfScore,
        KindScore,
        Rate,
        ScoredRun,
    )
    from yolo_stability.studies.fault_detection.result import FaultResult

__all__ = ["faults_markdown", "faults_picture"]

_OURS_INK, _OTHER_INK = "#0072b2", "#9aa1a9"
_WORDS = """\
- **with an effect**: loss or gradient norm per image of a faulty run leaves the range of all \
healthy runs of the same task, model and optimizer (loss by a factor of 2, norm by a factor of 10, \
for three steps in a row), a value is not finite, or the final fitness is below a quarter of their \
median. Faulty runs without an effect are excluded from all rates.
- **onset**: the step of a sudden fault; for a gradual fault, the first step of that effect.
- **seen**: a critical finding (for the other rules, an alarm) that does not precede a sudden fault.
- **noticed**: verdict failed or unstable, or a warning or critical finding that neither the guard \
nor a rescue resolved. Warnings alone change no verdict.
- **latency**: steps from the onset to the first step after which the alarm could be raised; \
negative if the alarm preceded the onset.
- **early**: among gradual faults that become non-finite at step 3 or later, those with an alarm \
at least 3 steps before.
- **masked**: diagnosed from the trace alone, without the settings.
- Shares have 95 % Wilson intervals."""


def faults_markdown(result: FaultResult) -> str:
    """Return the scores as Markdown.

    Args:
        result: The scores.
    """
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))
    parts = [
        "# Fault benchmark",
        f"{len(result.runs)} labeled runs, scored {result.written} ({versions}).",
    ]
    if not result.halves:
        parts.append("No labeled run has ended yet. Run the suite first.")
    for half in result.halves:
        parts += _half(half)
    parts += ["## How to read this", _WORDS]
    return "\n\n".join(parts) + "\n"


def _half(half: HalfScore) -> list[str]:
    """Return the sections for one half."""
    seen = half.detectors[0]
    summary = [
        ("Faulty runs", f"{half.faulty}, including {half.without_effect} without effect"),
        ("Healthy runs", str(half.healthy)),
        ("Recall: a critical finding", _rate_with_interval(seen.recall)),
        (
            "The same, if loss, norm or finiteness show the fault",
            _rate_with_interval(half.shown),
        ),
        ("The same, if only the final fitness shows it", _rate_with_interval(half.silent)),
        ("Noticed", _rate_with_interval(half.noticed)),
        ("The verdict alone: failed or unstable", _rate_with_interval(half.failed_verdicts)),
        ("Precision of critical findings", _rate_with_interval(seen.precision)),
        ("Healthy runs with a critical finding", _rate_with_interval(seen.false_alarms)),
        ("Healthy runs noticed", _rate_with_interval(half.false_notices)),
        ("Healthy runs with verdict failed or unstable", _rate_with_interval(half.false_verdicts)),
        ("All runs with verdict inconclusive", _rate_with_interval(half.inconclusive)),
        ("Cause first, masked", _rate_with_interval(half.masked.first)),
        ("Cause among the first two, masked", _rate_with_interval(half.masked.second)),
        ("Cause first, with settings", _rate_with_interval(half.informed.first)),
        ("Cause among the first two, with settings", _rate_with_interval(half.informed.second)),
        (
            "Latency, median and 90 %",
            f"{_steps_or_dash(seen.latency_median)} and {_steps_or_dash(seen.latency_90)} steps",
        ),
        (
            "Early: 3 steps before the first non-finite value",
            _rate_with_interval(seen.early),
        ),
    ]
    parts = [f"## {half.title}: {', '.join(half.models)}", _table(["", ""], summary)]
    parts += [
        "### The same traces under other rules",
        _table(_DETECTOR_HEAD, map(_detector, half.detectors)),
    ]
    parts += ["### Kinds of faults", _table(_KIND_HEAD, map(_kind, half.kinds))]
    if half.false_criticals:
        parts += [
            "### Healthy runs with a critical finding",
            "\n".join(f"- {line}" for line in half.false_criticals),
        ]
    return parts


_DETECTOR_HEAD = [
    "Rule",
    "Recall",
    "Healthy alarmed",
    "Precision",
    "Balanced",
    "Latency (90 %)",
    "Early",
]
_KIND_HEAD = [
    "Fault",
    "Cause",
    "Onset",
    "With effect",
    "Seen",
    "Masked",
    "With settings",
    "At, median",
    "First cause, masked",
]


def _detector(score: DetectorScore) -> Sequence[str]:
    return (
        score.name,
        _rate_with_interval(score.recall),
        _rate_with_interval(score.false_alarms),
        _rate_with_interval(score.precision),
        "-" if score.balanced is None else f"{score.balanced:.2f}",
        f"{_steps_or_dash(score.latency_median)} ({_steps_or_dash(score.latency_90)})",
        _rate_with_interval(score.early),
    )


def _kind(kind: KindScore) -> Sequence[str]:
    return (
        kind.arm,
        kind.label,
        "gradual" if kind.gradual else "sudden",
        f"{kind.effective} of {kind.runs}",
        str(kind.seen),
        str(kind.masked),
        str(kind.informed),
        f"{_steps_or_dash(kind.onset_median)}, alarm {_steps_or_dash(kind.alarm_median)}",
        kind.told or "-",
    )


def _rate_with_interval(rate: Rate) -> str:
    share = rate.share
    if share.value is None or share.low is None or share.high is None:
        return "-"
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}] ({rate.hits} of {rate.runs})"


def _steps_or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def faults_picture(result: FaultResult) -> bytes:
    """Return a PNG of recall and false alarms, causes, and alarm steps, one row per half.

    Args:
        result: The scores.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, len(result.halves))
    with mpl.rc_context({**RC, "text.parse_math": False}):
        figure = Figure(figsize=(13.0, 4.2 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, 3, squeeze=False)
        for half, (left, middle, right) in zip(result.halves, axes, strict=False):
            _detectors(left, half)
            _causes(middle, half)
            _alarms(
                right,
                [run for run in result.runs if run.model in half.models],
                half.detectors[0].name,
            )
        return png_of(figure, dpi=100)


def _detectors(axes: Any, half: HalfScore) -> None:
    """Plot recall and false alarms of each detector, with intervals."""
    for place, score in enumerate(reversed(half.detectors)):
        ours = score.name.startswith(
            half.detectors[0].name
        )  # the detector that also counts warnings
        _bar(axes, place + 0.19, score.recall, _OURS_INK if ours else _OTHER_INK)
        _bar(axes, place - 0.19, score.false_alarms, BAD)
    axes.set_yticks(range(len(half.detectors)), [score.name for score in reversed(half.detectors)])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of runs; red: healthy runs with an alarm")
    axes.set_title(f"{half.title}: faults seen", loc="left", color=INK)


def _causes(axes: Any, half: HalfScore) -> None:
    """Plot the accuracy of the cause."""
    scores: list[tuple[str, CauseScore]] = [
        ("trace alone", half.masked),
        ("with settings", half.informed),
    ]
    bars = [
        (f"{name}, {word}", rate)
        for name, c in scores
        for word, rate in (("first", c.first), ("2 first", c.second))
    ]
    for place, (_, rate) in enumerate(reversed(bars)):
        _bar(axes, place, rate, _OURS_INK, height=0.6)
    axes.set_yticks(range(len(bars)), [name for name, _ in reversed(bars)])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of faulty runs with an effect")
    axes.set_title("correct cause", loc="left", color=INK)


def _bar(axes: Any, place: float, rate: Rate, ink: str, height: float = 0.36) -> None:
    share = rate.share
    if share.value is None or share.low is None or share.high is None:
        return
    axes.barh(place, share.value, height=height, color=ink)
    axes.plot([share.low, share.high], [place, place], color=INK, linewidth=0.8)


def _alarms(axes: Any, runs: Sequence[ScoredRun], name: str) -> None:
    """Plot alarm step over onset of each faulty run; on the line, the alarm is immediate."""
    points = [
        (run.onset, run.alarms[name], run.gradual)
        for run in runs
        if run.effective and run.onset is not None and run.alarms.get(name) is not None
    ]
    for gradual, ink, word in ((True, _OURS_INK, "gradual"), (False, BAD, "sudden")):
        chosen = [(x, y) for x, y, kind in points if kind is gradual]
        axes.plot(
            [x for x, _ in chosen],
            [y for _, y in chosen],
            "o",
            color=ink,
            alpha=0.5,
            markersize=4,
            label=word,
        )
    top = max((max(x, y or 0) for x, y, _ in points), default=1)
    axes.plot([0, top], [0, top], color=FAINT, linewidth=0.8)
    axes.set_xlabel("step of the onset")
    axes.set_ylabel("step of the first critical finding")
    axes.set_title("alarm vs. onset", loc="left", color=INK)
    axes.legend(frameon=False)
