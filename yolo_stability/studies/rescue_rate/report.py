"""The tables of the rescue benchmark, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolo_stability.benchmarks.rows import Interval
    from yolo_stability.studies.rescue_rate.result import RescueResult

__all__ = ["rescue_markdown"]


def rescue_markdown(result: RescueResult) -> str:
    """Return the tables for people.

    Args:
        result: From `score_rescues`.
    """
    total = result.counts[-1]
    hands = sorted(total.by_hand)
    lines = [
        "# Rescues",
        "",
        f"Of {total.runs} runs that were made to fail, {total.failing} did (below 0.9 of the ",
    ]
    lines[-1] += (
        f"fitness of the healthy run of the same seed). {total.repairable} of them are repairable: a remedy "
    )
    lines[-1] += "by hand at the onset reaches 0.9. Of these:"
    lines += ["", "| | repaired | share | 95 %, runs as independent | 95 %, bootstrap |"]
    lines.append("|---|--:|--:|---|---|")
    for name, count, of, share, drawn, by in (
        ("rescue=auto", total.auto, total.repairable, result.auto, result.auto_drawn, result.drawn),
        (
            "random choice",
            total.random,
            total.tried,
            result.random,
            result.random_drawn,
            result.drawn_tried,
        ),
    ):
        if share.value is not None:
            found = [
                name,
                f"{count} of {of}",
                f"{share.value:.2f}",
                _low_to_high(share),
                f"{_low_to_high(drawn)}, by {by}",
            ]
            lines.append(f"| {' | '.join(found)} |")
    if result.difference.value is not None:
        range_text = _low_to_high(result.difference)
        told = (
            f"{result.difference.value:.2f} (95 % interval by {result.drawn_tried}, {range_text})"
        )
        lines += ["", f"Difference, paired by run, where both were tried: {told}."]
    lines += ["", _how(result)]
    if result.time_ratio is not None:
        lines += [
            "",
            f"Time in the step loop, repaired over healthy run of the same seed: {result.time_ratio:.2f}.",
        ]
    if result.price:
        p = result.price
        text = f"Healthy runs with rescue=auto: {p['identical']:.0f} of {p['runs']:.0f} have the same trace digest as "
        lines += ["", f"{text}without; fitness {p['fitness']:.3g} times."]
    head = [
        "cause",
        "task",
        "runs",
        "failing",
        "repairable",
        "auto",
        "random",
        "auto of failing",
        "fitness",
        *hands,
    ]
    lines += ["", f"| {' | '.join(head)} |", f"|{'---|' * 2}{'--:|' * (len(head) - 2)}"]
    for c in result.counts:
        fitness = "" if c.fitness_auto is None else f"{c.fitness_auto:.2f}"
        cells = [
            c.cause,
            c.task,
            c.runs,
            c.failing,
            c.repairable,
            c.auto,
            c.random,
            c.auto_all,
            fitness,
        ]
        lines.append(
            f"| {' | '.join(str(cell) for cell in [*cells, *(c.by_hand.get(n, 0) for n in hands)])} |"
        )
    text = "*fitness*: median under rescue=auto over that of the healthy run, of failing runs. The last columns: "
    lines += ["", f"{text}failing runs that each remedy repairs by hand, where it was tried.", ""]
    return "\n".join(lines)


def _how(result: RescueResult) -> str:
    """Say where the intervals come from."""
    whole = (
        "The first interval is Wilson's, which takes all runs for independent. Bootstrap samples by seed draw whole "
        f"seeds, of which there are {result.seeds} here, each with all its cases: causes that share a seed share "
        "weights and order of the images."
    )
    single = "Those by run draw single runs, for there are too few seeds: they are narrower than they should be."
    return f"{whole} {single}" if "run" in {result.drawn, result.drawn_tried} else whole


def _low_to_high(interval: Interval) -> str:
    return (
        "unknown"
        if interval.low is None or interval.high is None
        else f"{interval.low:.2f} to {interval.high:.2f}"
    )
