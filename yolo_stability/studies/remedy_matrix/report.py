"""Renders the remedy matrix, causes x remedies per task, as Markdown and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_stability.display.picture import png_of
from yolo_stability.display.style import BLANK, FAINT, INK, RC

if TYPE_CHECKING:
    from yolo_stability.benchmarks.rows import Interval
    from yolo_stability.studies.remedy_matrix.matrix import OutcomeCounts, Price, RemedyCell
    from yolo_stability.studies.remedy_matrix.result import CauseRow, MatrixResult, RemedyColumn

__all__ = ["remedies_markdown", "remedies_picture"]

_RECOMMENDED_INK = "#b35900"
_LOW, _HIGH = (0.96, 0.97, 0.98), (0.0, 0.447, 0.698)
"""Colors from no run saved to all saved: one hue of decreasing lightness, color-blind safe."""
_DARK = 0.55
_HEALTHY = "on the healthy recipe"
_VOID, _MISSING = "-", "·"
_CELL, _ROW = 0.92, 0.5  # inches


def remedies_markdown(result: MatrixResult) -> str:
    """Return the matrix as Markdown.

    Args:
        result: The matrix.
    """
    parts = ["# Remedy matrix", _preamble(result)]
    for task in result.models:
        parts += [f"## {_title(result, task)}", _task_table(result, task)]
    recommended = [cell for cell in result.cells if cell.verdict == "recommended"]
    parts += [
        "## Recommended",
        "\n".join(f"- {_cell_sentence(cell, result)}" for cell in recommended) or "None so far.",
    ]
    others = [
        cell
        for cell in result.cells
        if cell.verdict in {"costly", "anecdotal"} and (cell.gain.value or 0) > 0
    ]
    if others:
        parts += [
            "## Saves runs, but is not recommended",
            "\n".join(f"- {_cell_sentence(cell, result)}" for cell in others),
        ]
    if result.crashes:
        parts += [
            "## Crashes",
            "\n".join(f"- {n} x {_in_cell(error)}" for error, n in result.crashes.items()),
        ]
    parts += ["## Causes and remedies", _names(result), "## How to read this", _words(result)]
    return "\n\n".join(parts) + "\n"


def _preamble(result: MatrixResult) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))
    whole = f"{result.ended_runs} of {result.planned_runs} runs have ended"
    stale = (
        f"; {result.stale_runs} runs with outdated settings are ignored"
        if result.stale_runs
        else ""
    )
    if result.uncounted_runs:
        stale += (
            f"; {result.uncounted_runs} of them are excluded: lost, or the control of their seed "
            "is missing or failed"
        )
    command = f" Command: `{result.command}`." if result.command else ""
    return f"{whole}{stale}; the last one {result.measured or 'never'} ({versions}).{command}"


def _title(result: MatrixResult, task: str) -> str:
    model, data = result.models[task]
    known = [value for value in result.control[task] if value is not None]
    mean = (
        f"; the healthy control reaches {sum(known) / len(known):.2f} (mean of {len(known)})"
        if known
        else ""
    )
    return f"{task}: {model} on {data}, {result.epochs} epochs{mean}"


def _task_table(result: MatrixResult, task: str) -> str:
    """Return the table of one task, with remedies as rows, as a page is longer than wide."""
    head = ["Remedy", *(row.name for row in result.rows), _HEALTHY]
    alone = ["*none*", *(_tally(row.alone[task]) for row in result.rows), "1"]
    lines = [head, ["---"] * len(head), alone]
    for column in result.columns:
        cells = [_found(result, row, column, task) for row in result.rows]
        lines.append(
            [f"`{column.settings}`", *map(_cell, cells), _price(_price_of(result, column, task))]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: RemedyCell) -> str:
    if cell.verdict in {"void", "missing"}:
        return _VOID if cell.verdict == "void" else _MISSING
    text = _tally(cell.own) + (" †" if cell.replaced else "")
    return f"**{text}** ✓" if cell.verdict == "recommended" else text


def _tally(own: OutcomeCounts) -> str:
    if not own.seeds:
        return _MISSING
    return f"{own.saved}/{len(own.seeds)}, {_decimals(own.fitness.value)}"


def _price(price: Price) -> str:
    return (
        f"{_decimals(price.own.fitness.value)}{_bracketed(price.own.fitness)}"
        if price.own.seeds
        else _MISSING
    )


def _cell_sentence(cell: RemedyCell, result: MatrixResult) -> str:
    """Return the summary of one cell."""
    column = next(c for c in result.columns if c.name == cell.remedy)
    alone = next(r for r in result.rows if r.name == cell.cause).alone[cell.task]
    price = _price_of(result, column, cell.task)
    own, gain = cell.own, cell.gain
    share = f"{own.saved} of {len(own.seeds)} runs saved ({_percent_range(own.share)})"
    against = f"{alone.saved} of {len(alone.seeds)} without"
    p_value = "" if cell.p_value is None else f", p = {cell.p_value:.2g}"
    fitness = f"fitness {_decimals(own.fitness.value)}{_bracketed(own.fitness)} of the control's"
    back = f"; it overrides {', '.join(cell.replaced)} of the cause" if cell.replaced else ""
    few = "; anecdotal: too few seeds" if cell.verdict == "anecdotal" else ""
    return (
        f"`{column.settings}` against {cell.cause} on {cell.task}: {share}, {against}"
        f" (gain {_decimals(gain.value)}{_bracketed(gain)}{p_value}); {fitness}; {_HEALTHY} "
        f"{_price(price)}{back}{few}."
    )


def _names(result: MatrixResult) -> str:
    causes = [f"- **{row.name}** (`{row.settings}`): {_in_cell(row.title)}" for row in result.rows]
    remedies = [
        f"- **{column.name}** (`{column.settings}`): {_in_cell(column.title)}"
        for column in result.columns
    ]
    return "\n".join([*causes, *remedies])


def _words(result: MatrixResult) -> str:
    return f"""\
- **4/5, 0.93**: 4 of 5 runs were saved; their final fitness was 0.93 times that of the healthy \
control with the same seed (mean of all runs, failed ones count as 0). Fitness is the mAP50 of the \
task.
- **saved**: the run completed with finite values, its verdict is not failed, and its fitness is \
at least {result.learned:.0%} of that of the healthy control with the same seed.
- **✓ recommended**: the interval (Newcombe) of the gain in saved runs over the cause alone is \
above 0 with p < 0.05 (Boschloo), the remedy costs a healthy run at most {result.margin:.0%} of \
its fitness (mean), and both are based on {result.enough_seeds} seeds or more.
- **†**: the remedy overrides a key of the cause, which undoes that part of the cause.
- **{_VOID}**: the remedy changes nothing there. **{_MISSING}**: not measured yet.
- 95 % intervals: Wilson for shares, paired bootstrap for fitness."""


def remedies_picture(result: MatrixResult) -> bytes:
    """Return a PNG with one grid per task; color and first number of a cell are the saved runs.

    Args:
        result: The matrix.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks, columns, rows = list(result.models), len(result.columns) + 1, len(result.rows) + 1
    size = (2.0 + _CELL * columns, len(tasks) * (1.15 + _ROW * rows) + 0.35)
    with mpl.rc_context({**RC, "text.parse_math": False}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, task in zip(
            figure.subplots(len(tasks), 1, squeeze=False)[:, 0], tasks, strict=True
        ):
            _grid(axes, result, task)
        figure.supxlabel(_legend(result), fontsize=8.5, color=FAINT)
        return png_of(figure, dpi=110)


def _legend(result: MatrixResult) -> str:
    return (
        "saved runs of all, and final fitness over that of the healthy control; ✓ and frame: "
        f"recommended; †: overrides a setting of the cause; {_VOID}: changes nothing there; "
        f"{_MISSING}: not measured ({result.ended_runs} of {result.planned_runs} runs)"
    )


def _grid(axes: Any, result: MatrixResult, task: str) -> None:
    """Plot the grid of one task."""
    names = [*(row.name for row in result.rows), "healthy recipe"]
    heads = ["no remedy", *(column.settings.replace("=", "=\n", 1) for column in result.columns)]
    for y, row in enumerate(result.rows):
        _box(axes, 0, y, row.alone[task], frame=False, mark="")
        for x, column in enumerate(result.columns, 1):
            cell = _found(result, row, column, task)
            if cell.verdict == "void":
                _empty(axes, x, y, _VOID)
            else:
                _box(
                    axes,
                    x,
                    y,
                    cell.own,
                    frame=cell.verdict == "recommended",
                    mark="†" * bool(cell.replaced),
                )
    for x, column in enumerate(result.columns, 1):
        _box(axes, x, len(result.rows), _price_of(result, column, task).own, frame=False, mark="")
    _empty(axes, 0, len(result.rows), "")
    axes.set_xlim(-0.5, len(heads) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axhline(len(result.rows) - 0.5, color=INK, linewidth=1.2)
    axes.axvline(0.5, color=INK, linewidth=1.2)
    axes.set_xticks(range(len(heads)), heads)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(_title(result, task), loc="left", color=INK, fontsize=10)


def _box(axes: Any, x: int, y: int, own: OutcomeCounts, *, frame: bool, mark: str) -> None:
    """Plot one cell."""
    from matplotlib.patches import Rectangle

    if not own.seeds:
        _empty(axes, x, y, _MISSING)
        return
    share = own.share.value or 0.0
    color = tuple(low + share * (high - low) for low, high in zip(_LOW, _HIGH, strict=True))
    axes.add_patch(
        Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, edgecolor="white", linewidth=1.0)
    )
    if frame:
        place, size = (x - 0.46, y - 0.44), (0.92, 0.88)
        axes.add_patch(
            Rectangle(place, *size, fill=False, edgecolor=_RECOMMENDED_INK, linewidth=2.4, zorder=3)
        )
    ink = "white" if share > _DARK else INK
    head = f"{own.saved}/{len(own.seeds)}{' ✓' if frame else ''}{f' {mark}' if mark else ''}"
    axes.text(
        x, y - 0.16, head, ha="center", va="center", color=ink, fontsize=10, fontweight="bold"
    )
    axes.text(
        x,
        y + 0.23,
        _decimals(own.fitness.value),
        ha="center",
        va="center",
        color=ink,
        fontsize=9,
    )


def _empty(axes: Any, x: int, y: int, text: str) -> None:
    """Plot a cell without data."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor=BLANK, linewidth=0.6)
    )
    axes.text(x, y, text, ha="center", va="center", color=FAINT)


def _found(result: MatrixResult, row: CauseRow, column: RemedyColumn, task: str) -> RemedyCell:
    return next(
        c for c in result.cells if (c.cause, c.remedy, c.task) == (row.name, column.name, task)
    )


def _price_of(result: MatrixResult, column: RemedyColumn, task: str) -> Price:
    return next(p for p in result.prices if (p.remedy, p.task) == (column.name, task))


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _bracketed(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f" [{interval.low:.2f}, {interval.high:.2f}]"


def _percent_range(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "-"
    return f"{100 * interval.low:.0f}-{100 * interval.high:.0f} %"


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")
