"""Write the pages of the documentation that are read off the code into `pages/generated/`, which git ignores.

Usage: python docs/generate.py [FOLDER]

The pages of the repository's root are copied, so that others can link to them, and a real report is written from the
sample runs.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from yolo_stability import compare
from yolo_stability.cli import help as pages
from yolo_stability.cli.commands import ELSEWHERE, VERBS
from yolo_stability.cli.commands.listing import KINDS
from yolo_stability.config import OWN_KEYS, SWITCHES
from yolo_stability.core.docstrings import attribute_texts
from yolo_stability.core.types import BlockStats, EpochRecord, Event, StepRecord
from yolo_stability.diagnosis.cause_descriptions import CAUSE_DESCRIPTIONS
from yolo_stability.diagnosis.explanations import (
    CauseExplanation,
    RuleExplanation,
    explain,
    reported,
)
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.display.example_figure import draw_example
from yolo_stability.trace.layout import TableName
from yolo_stability.trace.schema import conform, empty

REPO = Path(__file__).resolve().parents[1]
OUT = REPO / "docs" / "pages" / "generated"
ROOT_PAGES = ("CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md")
SAMPLE_RUNS = ("first", "hot", "rescued")
"""Runs of `docs/sample/` that the report compares, the control first."""
_EPOCH_COLUMNS = {"val": "val/<name>", "metrics": "metrics/<name>"}


def main(out: Path = OUT) -> None:
    """Write every generated page.

    Args:
        out: Folder; what it held before is removed.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in ROOT_PAGES:
        _copy(name, out)
    write_report(out / "report.html")
    for name, text in (
        ("commands", commands()),
        ("keys", keys()),
        ("names", names()),
        ("rules", rules(out / "rules")),
        ("causes", causes()),
        ("trace", trace()),
        ("examples", examples()),
    ):
        (out / f"{name}.md").write_text(text, encoding="utf-8")


def _copy(name: str, out: Path) -> None:
    """Copy a page of the repository's root; its links lead to the pages of the site."""
    text = (REPO / name).read_text(encoding="utf-8").replace("](docs/pages/", "](../")
    for other in ROOT_PAGES:
        text = text.replace(f"]({other})", f"]({other.lower()})")
    (out / name.lower()).write_text(text, encoding="utf-8")


def write_report(target: Path) -> None:
    """Write the report of the sample runs as one file.

    Args:
        target: File to write.
    """
    with TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        runs = [Path("runs") / "detect" / name for name in SAMPLE_RUNS]
        for run in runs:
            shutil.copytree(REPO / "docs" / "sample" / run.name, run)
        compare(*runs, out="compared")
        shutil.copy(Path("compared") / "report.html", target)


def commands() -> str:
    """Return the page of all verbs and exit codes."""
    lines = [
        "# Commands and exit codes",
        "",
        "This is what `yolo-stability help` and `yolo-stability help VERB` print.",
        "",
        *_code(pages.front_page()),
    ]
    for verb in VERBS.values():
        lines += [f"## {verb.name}", "", *_code(pages.verb_page(verb))]
    lines += [
        "## Left to yolo",
        "",
        "Verbs of Ultralytics that this program does not have, and its answers:",
        "",
    ]
    lines += [
        *_table(("verb", "answer"), ((f"`{verb}`", text) for verb, text in ELSEWHERE.items())),
        "",
    ]
    return "\n".join(lines)


def keys() -> str:
    """Return the page of all yolo_stability options."""
    rows = [
        (
            f"`{key.name}=`",
            "" if key.default is None else f"`{str(key.default).lower()}`",
            key.valid,
            key.help,
            "switch" if key.name in SWITCHES else "",
        )
        for key in OWN_KEYS.values()
    ]
    return "\n".join(
        [
            "# Keys",
            "",
            "Keys of this package, for `train` and, as keyword arguments, for `yolo_stability.train` and",
            "`StabilityMonitor`. Every key of Ultralytics works beside them; `yolo cfg` lists those. A *switch*",
            "changes what is trained, and how; `probe` takes those that act on the model.",
            "",
            *_table(("key", "default", "values", "what it does", ""), rows),
            "",
        ]
    )


def names() -> str:
    """Return the page of all names that commands take: what `yolo-stability list` prints."""
    lines = ["# Names", "", "This is what `yolo-stability list` prints.", ""]
    for kind, rows in KINDS.items():
        lines += [
            f"## {kind}",
            "",
            *_table(("name", "what it is"), ((f"`{name}`", text) for name, text in rows())),
            "",
        ]
    return "\n".join(lines)


def rules(pictures: Path) -> str:
    """Return the page of all rules: what `yolo-stability explain RULE` prints, with pictures.

    Args:
        pictures: Folder for one picture of each rule, drawn from its own example.
    """
    pictures.mkdir()
    lines = [*_RULES_INTRO]
    for name in RULES:
        rule = explain(name)
        assert isinstance(rule, RuleExplanation)
        lines += [f"## {name}", "", f"*{_sentence(rule.sign)}*", ""]
        lines += [line for text in rule.prose for line in (text, "")]
        lines += [rule.example, ""]
        if rule.curve is not None:
            draw_example(rule.curve, pictures / f"{name}.png")
            lines += [f"![{rule.curve.quantity}: {rule.example}]({pictures.name}/{name}.png)", ""]
        lines += ["It reports:", "", *(f"- {reported(f)}" for f in rule.findings), ""]
        if rule.remedies:
            lines += ["What to try:", "", *(f"- {text}" for text in rule.remedies), ""]
        if rule.thresholds:
            rows = ((f"`{t.name}`", t.text, t.meaning) for t in rule.thresholds)
            lines += [*_table(("threshold", "value", "what it is, and why"), rows), ""]
        links = [f"[{cause}](causes.md#{cause})" for cause in rule.supports]
        lines += [f"Points to: {', '.join(links) or 'no cause by itself'}.", ""]
    return "\n".join(lines)


def causes() -> str:
    """Return the page of all causes: what `yolo-stability explain CAUSE` prints."""
    lines = [*_CAUSES_INTRO]
    for name in CAUSE_DESCRIPTIONS:
        cause = explain(name)
        assert isinstance(cause, CauseExplanation)
        about = cause.description
        lines += [f"## {name}", "", about.meaning, "", "What points to it:", ""]
        lines += [*(f"- {text}" for text in about.points_to), "", "What to try:", ""]
        lines += [*(f"- {text}" for text in about.remedies), ""]
        lines += ["What helped in [measured runs](../measured/remedies.md):", ""]
        lines += [f"- {optimizer}: {text}" for optimizer, text in cause.measured.items()]
        lines += ["" if cause.measured else "Nothing was measured against it.", ""]
        links = [f"[{rule}](rules.md#{rule})" for rule in cause.rules]
        lines += [f"Rules: {', '.join(links) or 'none points to it by itself'}.", ""]
    return "\n".join(lines)


def _sentence(phrase: str) -> str:
    """Return a phrase as a sentence."""
    return f"{phrase[:1].upper()}{phrase[1:]}."


_RULES_INTRO = (
    "# Rules",
    "",
    "A rule looks for one kind of trouble in a recorded run. This is what `yolo-stability explain",
    "RULE` prints. Each picture is drawn from the example run of the rule, beside a healthy run; the",
    "shaded steps are those of its finding, which begins where the rule is sure. *Five recorded",
    "healthy runs* are those in `tests/golden/`: YOLOv8n and YOLO26n, detection and pose, on the",
    "embedded sets. How often the rules are right is [measured](../measured/diagnosis.md).",
    "",
)
_CAUSES_INTRO = (
    "# Causes",
    "",
    "A diagnosis ranks these causes by the evidence for each. This is what `yolo-stability explain",
    "CAUSE` prints. In brackets are 95 % confidence intervals.",
    "",
)


def examples() -> str:
    """Return the page of the examples beside the notebooks, which tests run."""
    lines = ["# Examples", "", "The files of `notebooks/examples/`; tests run each of them.", ""]
    for path in sorted((REPO / "notebooks" / "examples").glob("*.py")):
        lines += [
            f"## {path.stem}",
            "",
            "```python",
            path.read_text(encoding="utf-8").rstrip("\n"),
            "```",
            "",
        ]
    return "\n".join(lines)


def trace() -> str:
    """Return the page of the columns of a trace."""
    steps = attribute_texts(StepRecord)
    blocks = {
        **attribute_texts(BlockStats),
        "nonfinite": attribute_texts(BlockStats)["nonfinite_count"],
    }
    shared = {name: steps[name] for name in ("attempt", "step")}
    dynamic = [
        ("`loss/<name>`", "Float32", steps["loss_items"]),
        ("`lr/<group>`", "Float32", steps["lr_by_group"]),
    ]
    header = ("column", "type", "what it is")
    return "\n".join(
        [
            "# Columns of a trace",
            "",
            "`load_trace(RUN)` returns `steps`, `blocks` and `events` as polars frames.",
            "",
            "## trace.steps",
            "",
            "One row per optimizer step. Unique by (attempt, step).",
            "",
            *_table(header, [*_columns("steps", steps), *dynamic]),
            "",
            "## trace.blocks",
            "",
            "One row per (attempt, step, block).",
            "",
            *_table(header, _columns("blocks", {**shared, **blocks})),
            "",
            "## trace.events",
            "",
            *_table(
                ("column", "what it is"),
                ((f"`{name}`", text) for name, text in attribute_texts(Event).items()),
            ),
            "",
            "## trace.epochs",
            "",
            *_table(
                ("column", "what it is"),
                (
                    (f"`{_EPOCH_COLUMNS.get(name, name)}`", text)
                    for name, text in attribute_texts(EpochRecord).items()
                ),
            ),
            "",
        ]
    )


def _columns(table: TableName, texts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of the fixed columns of a table, as it is read back."""
    schema = conform(empty(table), table, ["model.0 Conv"]).schema
    return [(f"`{name}`", type(dtype).__name__, texts[name]) for name, dtype in schema.items()]


def _code(text: str) -> list[str]:
    return ["```text", text.rstrip("\n"), "```", ""]


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a Markdown table; a bar inside a cell would end it."""
    cells = [[*header], *([text.replace("|", "\\|") for text in row] for row in rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], f"|{'---|' * len(cells[0])}", *lines[1:]]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
