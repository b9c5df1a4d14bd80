"""The `explain` verb: what a rule sees, or what a cause means, and what to try."""

from __future__ import annotations

import json
import shutil

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE
from yolo_stability.cli.grammar import Line
from yolo_stability.cli.output import print_lines, print_names
from yolo_stability.core.errors import ConfigError

__all__ = ["VERB"]

_ONE = "'explain' takes one name, such as explain spike; without a name it lists all."


def call(line: Line) -> int:
    """Print the explanation of a rule or cause, or all names.

    Args:
        line: The name, or nothing.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If there is no such rule or cause, or there are several names.
    """
    if len(line.words) > 1:
        raise ConfigError(_ONE)
    if not line.words:
        _show_all(as_json=line.json)
        return DONE
    # not by way of `api`, which takes seconds to import: this only reads texts
    from yolo_stability.diagnosis.explanations import explain

    found = explain(line.words[0])
    if line.json:
        print(json.dumps(found.to_json(), allow_nan=False))
    else:
        print_lines(found.lines(min(shutil.get_terminal_size().columns, 100)))
    return DONE


def _show_all(*, as_json: bool) -> None:
    """Print the names of all rules and causes."""
    from yolo_stability.diagnosis.cause_descriptions import CAUSE_DESCRIPTIONS
    from yolo_stability.diagnosis.rules import RULES

    groups = {
        "rules": list(RULES.summaries.items()),
        "causes": [(name, cause.meaning) for name, cause in CAUSE_DESCRIPTIONS.items()],
    }
    if as_json:
        rows = {kind: [{"name": n, "summary": text} for n, text in groups[kind]] for kind in groups}
        print(json.dumps(rows))
        return
    for kind, found in groups.items():
        print(f"{kind}:")
        print_names(found)
    print("\nyolo-stability explain NAME explains one of them.")


VERB = Verb(
    name="explain",
    usage="[RULE|CAUSE] [--json]",
    summary="explain a rule or a cause that a diagnosis names",
    call=call,
    hints=("json",),
    unknown_key="Unknown key '{key}'.{hint} 'explain' takes a name and --json.",
    light=True,
    examples=(
        "yolo-stability explain",
        "yolo-stability explain update_ratio",
        "yolo-stability explain learning_rate --json",
    ),
    details="""\
  RULE is the name in front of a finding, such as update_ratio: what it sees,
  its thresholds with their reasons, a picture of an example, what to try.
  CAUSE is the name behind "cause:", such as learning_rate: what it means, what
  points to it, what helped in measured runs. Without a name, all are listed.
""",
)
