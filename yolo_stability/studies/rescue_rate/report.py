"""Renders the rescue benchmark as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolo_stability.benchmarks.rows import Interval
    from yolo_stability.studies.rescue_rate.result import RescueResult

__all__ = ["rescue_markdown"]


def rescue_markdown(result: RescueResult) -> str:
    """Return the scores as Markdown.

    Args:
        result: From `score_rescues`.
    """
    total = result.counts[-1]
    hands = sorted(total.by_hand)
    lines = [
        "# Rescues",
        "",
        f"Of {total.runs} runs designed to fail, {total.failing} did (below 0.9 of the fitness of "
        f"the healthy run with the same seed). {total.repairable} of them are repairable: a remedy "
        "applied manually at the onset reaches 0.9. Of these:",
    ]
    lines += ["", "| | repaired | share | 95 %, independent runs | 95 %, bootstrap |"]
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
        text = (
            f"{result.difference.value:.2f} (95 % interval by {result.drawn_tried}, {range_text})"
        )
        lines += ["", f"Difference, paired by run, for runs with both: {text}."]
    lines += ["", _how(result)]
    if result.time_ratio is not None:
        lines += [
            "",
            "Time in the training loop, repaired over healthy run with the same seed: "
            f"{result.time_ratio:.2f}.",
        ]
    if result.price:
        p = result.price
        lines += [
            "",
            f"Healthy runs with rescue=auto: {p['identical']:.0f} of {p['runs']:.0f} have the same "
            f"trace digest as without; fitness {p['fitness']:.3g} times.",
        ]
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
        cells += [c.by_hand.get(name, 0) for name in hands]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "*fitness*: median fitness of failing runs with rescue=auto, over that of the healthy run. "
        "The last columns: failing runs that each remedy repairs if applied manually, if tried.",
        "",
    ]
    return "\n".join(lines)


def _how(result: RescueResult) -> str:
    """Return the explanation of the intervals."""
    whole = (
        "The first interval is the Wilson interval, which assumes independent runs. The bootstrap "
        f"by seed draws whole seeds ({result.seeds} here) with all their cases: causes with the "
        "same seed share initial weights and image order."
    )
    single = (
        "The bootstrap by run draws single runs, because there are too few seeds; its intervals "
        "are too narrow."
    )
    return f"{whole} {single}" if "run" in {result.drawn, result.drawn_tried} else whole


def _low_to_high(interval: Interval) -> str:
    return (
        "unknown"
        if interval.low is None or interval.high is None
        else f"{interval.low:.2f} to {interval.high:.2f}"
    )
