"""The HTML report (`report.html`): one self-contained page that works offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from yolo_stability.core.text import clean, number, setting
from yolo_stability.report.curves import curves_chart
from yolo_stability.report.differences import flatten
from yolo_stability.report.findings import diagnosed
from yolo_stability.report.heatmaps import Grids, depth_charts, heat_charts, own_steps, steps_shown
from yolo_stability.report.moments import Pair, moments, pairs, worst_pair
from yolo_stability.report.outline import Outline, Section, benchmark_headline
from yolo_stability.report.phrases import run_sentence
from yolo_stability.report.plotly import Chart
from yolo_stability.report.run_bins import BinnedRun, Key
from yolo_stability.report.tables import (
    GLOSSARY,
    block_table,
    command_of,
    comparison_sentences,
    lost_runs,
    number_table,
    run_table,
    setting_table,
)

__all__ = ["page"]

_TEMPLATES = Path(__file__).parent / "templates"
_MARKS = {"failed": "✕", "unstable": "▲", "inconclusive": "?", "stable": "✓"}


def page(outline: Outline, series: Mapping[Key, BinnedRun]) -> str:
    """Return the HTML page; the same outline gives the same text."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    result, grids = outline.result, Grids.of(dict(series))
    charts: dict[str, Any] = {}
    groups = [
        {
            "id": group.id,
            "title": group.title,
            "model": clean(group.model),
            "sections": [
                _section(section, grids, charts) for section in group.sections if section.runs
            ],
        }
        for group in outline.groups
    ]
    manifest = {key: value for key, value in result.manifest.items() if key != "command"}
    return environment.get_template("report.html.j2").render(
        suite=clean(result.suite),
        description=clean(result.description),
        headline=benchmark_headline(outline),
        lost=lost_runs(outline),
        comparisons=comparison_sentences(outline),
        groups=groups,
        matrix=[
            {
                "name": clean(arm.name),
                "what": "control" if arm.is_control else clean(arm.kind),
                "cells": cells,
            }
            for arm, cells in outline.matrix
        ],
        marks=_MARKS | {"": ""},
        numbers=number_table(outline),
        settings=setting_table(outline),
        runs=run_table(outline),
        command=command_of(outline),
        environment=flatten(manifest),
        totals=flatten(result.totals),
        glossary=GLOSSARY,
        css=_asset("report.css"),
        script=_asset("report.js"),
        plotly=Markup(
            files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")
        ),
        data=_inline_json({"charts": charts, "grids": grids.content}),
    )


def _asset(name: str) -> Markup:
    return Markup(
        (_TEMPLATES / name).read_text(encoding="utf-8")
    )  # part of the package, contains no user input


def _inline_json(value: Any) -> Markup:
    """Return JSON that cannot close the surrounding script element, whatever names it contains."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    )
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _section(section: Section, grids: Grids, charts: dict[str, Any]) -> dict[str, Any]:
    """Return the template values of an arm, and add its charts to those of the page."""
    found = pairs(section)
    shown = worst_pair(found) if found else None
    curves, heat, depth = curves_chart(section), heat_charts(section, grids), depth_charts(section)
    for chart in (*heat, *depth, *([curves] if curves else [])):
        charts[chart.id] = chart.variants
    arm = section.arm
    return {
        "id": section.id,
        "name": clean(arm.name),
        "cell": section.cell,
        "sentence": clean(section.comparison.sentence) if section.comparison else "",
        "claim": clean(arm.claim),
        "expects": clean(arm.expects),
        "note": section.note,
        "overrides": " ".join(
            f"{clean(key)}={setting(value)}" for key, value in arm.overrides.items()
        ),
        "diagnosed": diagnosed([run for run, _ in section.runs]),
        "versus": bool(section.control),
        "curves": curves,
        "summaries": _summaries(section),
        "seeds": [str(pair.run.seed) for pair in found],
        "seed": str(shown.run.seed) if shown else None,
        "heat": [(chart, _side(chart, section)) for chart in heat],
        "heat_note": _heat_note(shown, section) if shown else "",
        "depth": [(chart, _title(chart, shown)) for chart in depth] if shown else [],
        "tables": [block_table(pair, section) for pair in found],
    }


def _side(chart: Chart, section: Section) -> str:
    return (
        "Control"
        if chart.id.endswith("control") or section.arm.is_control
        else clean(section.arm.name)
    )


def _title(chart: Chart, shown: Pair | None) -> str:
    variant = chart.variants.get(str(shown.run.seed)) if shown else None
    return str(variant["title"]) if variant else "Not available for this seed."


def _summaries(section: Section) -> list[tuple[str, str]]:
    sides = [("Control", section.control), (clean(section.arm.name), section.runs)]
    return [
        (f"{who}, seed {run.seed}", run_sentence(run, series))
        for who, runs in sides
        for run, series in runs
    ]


def _heat_note(pair: Pair, section: Section) -> str:
    """Return the caption of the heat maps, which also names steps that are not shown."""
    sentences = [f"Seed {pair.run.seed}."]
    if pair.control is not None and pair.control_seed != pair.run.seed:
        sentences.append(
            f"The control has no run with this seed: its seed {pair.control_seed} is shown."
        )
    for moment in moments(pair):
        known = [
            (float(v), b)
            for v, b in zip(moment.norms, pair.series.blocks, strict=True)
            if np.isfinite(v)
        ]
        if known:
            (low, first), (high, last) = min(known), max(known)
            sentences.append(
                f"{moment.title}, every block norm of {clean(section.arm.name)} is zero."
                if high == 0
                else f"{moment.title}, the block norms of {clean(section.arm.name)} range from "
                f"{number(low)} in {clean(first)} to {number(high)} in {clean(last)}."
            )
        if moment.nonfinite.any():
            sentences.append(
                f"{moment.title}, {int(moment.nonfinite.sum())} of {len(pair.series.blocks)} "
                "blocks contain NaN or Inf."
            )
    if own_steps(pair) and pair.control is not None:
        arm, control = (int(series.last[-1]) for series in (pair.series, pair.control))
        sentences.append(
            f"The control ends at step {control:,}, this run at step {arm:,}: the step axes differ."
        )
    if steps_shown(pair)[2]:
        sentences.append(
            "The run ended early: both sides show twice its length, not the whole control run."
        )
    return " ".join(sentences)
