"""`verify`: run a benchmark again, or a sample of it, and compare."""

from __future__ import annotations

import json
from collections.abc import Sequence

from yolo_stability.cli import parser as arguments
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.output import stdout_to_stderr, tell
from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["VERB"]

KEYS = ("sample",)


def run(args: Sequence[str]) -> int:
    """Run a benchmark again and print what is the same and what is not.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0 when everything came out identical, 3 when not.

    Raises:
        ConfigError: If the line names no benchmark, or a key or value is impossible.
    """
    words, pairs, as_json = arguments.read_with_json(args)
    for key in pairs:
        if key not in KEYS:
            raise ConfigError(
                f"Unknown key '{key}'.{nearest(key, KEYS)} 'verify' takes sample= and --json."
            )
    sample = pairs.get("sample")
    if sample is not None and (not isinstance(sample, int) or isinstance(sample, bool)):
        raise ConfigError(f"sample={sample} is not possible: sample is a whole number, 1 or more.")
    if len(words) != 1:
        raise ConfigError(
            "'verify' takes the folder of one benchmark: write verify runs/benchmark/demo, for instance."
        )
    with stdout_to_stderr():
        from yolo_stability.api import verify

        found = verify(words[0], sample=sample)
    if as_json:
        checks = [{"run": c.run, "identical": c.identical, "text": c.text} for c in found.checks]
        print(
            json.dumps(
                {
                    "identical": found.identical,
                    "checks": checks,
                    "environment": list(found.environment),
                }
            )
        )
    else:
        tell(found.lines())
    return DONE if found.identical else UNSTABLE


VERB = Verb(
    name="verify",
    usage="FOLDER [sample=3] [--json]",
    summary="run a benchmark again: is the same coming out?",
    run=run,
    examples=("yolo-stability verify runs/benchmark/demo sample=3",),
    details="""\
  FOLDER is that of a benchmark. Each run, or sample= of them spread over the
  plan, is run again and its trace compared step by step and block by block.
  Where something differs, the step, the settings, the data and the versions
  that differ are named. Exit code 0: identical; 3: not.
""",
)
