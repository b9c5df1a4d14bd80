"""`diagnose`: what went wrong in a run, an incident or a checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yolo_stability.cli import parser as arguments
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, INCONCLUSIVE, UNSTABLE
from yolo_stability.cli.output import stdout_to_stderr
from yolo_stability.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from yolo_stability.diagnosis.targets import Examination

__all__ = ["VERB"]

_CODES = {"stable": DONE, "unstable": UNSTABLE, "failed": UNSTABLE, "inconclusive": INCONCLUSIVE}


def run(args: Sequence[str]) -> int:
    """Diagnose what lies at a path and print it.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0 for a stable run, a sound checkpoint, or an incident that was reproduced; 3 for an unstable or
        failed run, damage in a checkpoint, or an incident that was not reproduced; 4 where the data do not suffice.

    Raises:
        ConfigError: If the line names no path, or a key.
    """
    words, pairs, as_json = arguments.read_with_json(args)
    for key in pairs:
        raise ConfigError(
            f"Unknown key '{key}'.{nearest(key, ('json',))} 'diagnose' takes a path and --json."
        )
    if len(words) != 1:
        raise ConfigError(
            "'diagnose' takes one path: write diagnose runs/detect/train, or diagnose last.pt."
        )
    with stdout_to_stderr():
        examined = _examine(words[0])
    if as_json:
        print(json.dumps(examined.to_json(), allow_nan=False))
    else:
        _show(examined)
    if examined.reproduced is not None:
        return DONE if examined.reproduced else UNSTABLE
    return _CODES[examined.diagnosis.verdict]


def _examine(path: str) -> Examination:
    """Hand the path to the API."""
    from yolo_stability.api import examine

    return examine(path)


def _show(examined: Examination) -> None:
    """Print what was found."""
    from yolo_stability.api import show_examined

    show_examined(examined, min(shutil.get_terminal_size().columns, 100))


VERB = Verb(
    name="diagnose",
    usage="PATH [--json]",
    summary="what went wrong, where, since when and why",
    run=run,
    examples=(
        "yolo-stability diagnose runs/detect/train",
        "yolo-stability diagnose runs/detect/train/weights/last.pt",
        "yolo-stability diagnose runs/detect/train/stability/incidents/step-000031",
    ),
    details="""\
  PATH is a run folder, ours or a plain one of Ultralytics (which holds losses
  only); a checkpoint, which is audited without running anything from it; or an
  incident folder, whose batch is run again. In our run folders the result is
  also written to stability/diagnosis.json.

  Exit code 0: stable, sound, or the incident came again; 3: unstable, failed,
  damaged, or the incident did not come again; 4: not enough data to say, or
  to replay.
""",
)
