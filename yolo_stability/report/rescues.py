"""The tables of the rescue benchmark, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolo_stability.rescuebench import RescueResult
    from yolo_stability.results import Interval

__all__ = ["rescue_markdown"]


def rescue_markdown(result: RescueResult) -> str:
    """Return the tables for people.

    Args:
        result: From `score_rescues`.
    """
    total = result.counts[-1]
    hands = sorted(total.by_hand)
    lines = ["# Rescues", "", f"Of {total.runs} runs that were made to fail, {total.failing} did (below 0.9 of the "]
    lines[-1] += f"fitness of the healthy run of the same seed). {total.repairable} of them are repairable: a remedy "
    lines[-1] += "by hand at the onset reaches 0.9. Of these:"
    lines += ["", "| | repaired | share | 95 % interval |", "|---|--:|--:|---|"]
    for name, count, share in (
        ("rescue=auto", total.auto, result.auto),
        ("random choice", total.random, result.random),
    ):
        if share.value is not None:
            lines.append(f"| {name} | {count} of {total.repairable} | {share.value:.2f} | {_bounds(share)} |")
    if result.difference.value is not None:
        told = f"{result.difference.value:.2f} (95 % interval {_bounds(result.difference)})"
        lines += ["", f"Difference, paired by run: {told}."]
    if result.time_ratio is not None:
        lines += ["", f"Time in the step loop, repaired over healthy run of the same seed: {result.time_ratio:.2f}."]
    if result.price:
        p = result.price
        text = f"Healthy runs with rescue=auto: {p['identical']:.0f} of {p['runs']:.0f} have the same trace digest as "
        lines += ["", f"{text}without; fitness {p['fitness']:.3g} times."]
    head = ["cause", "task", "runs", "failing", "repairable", "auto", "random", "auto of failing", "fitness", *hands]
    lines += ["", f"| {' | '.join(head)} |", f"|{'---|' * 2}{'--:|' * (len(head) - 2)}"]
    for c in result.counts:
        fitness = "" if c.fitness_auto is None else f"{c.fitness_auto:.2f}"
        cells = [c.cause, c.task, c.runs, c.failing, c.repairable, c.auto, c.random, c.auto_all, fitness]
        lines.append(f"| {' | '.join(str(cell) for cell in [*cells, *(c.by_hand.get(n, 0) for n in hands)])} |")
    text = "*fitness*: median under rescue=auto over that of the healthy run, of failing runs. The last columns: "
    lines += ["", f"{text}failing runs that each remedy repairs by hand.", ""]
    return "\n".join(lines)


def _bounds(interval: Interval) -> str:
    return "unknown" if interval.low is None or interval.high is None else f"{interval.low:.2f} to {interval.high:.2f}"
