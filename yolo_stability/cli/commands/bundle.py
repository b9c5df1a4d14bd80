"""`bundle`: a run in one anonymous file, for a bug report."""

from __future__ import annotations

import dataclasses
import json

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE
from yolo_stability.cli.grammar import Key, Line
from yolo_stability.cli.output import stdout_to_stderr

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Write the bundle and print what is in it.

    Args:
        line: The run folder, and `out`.

    Returns:
        Exit code 0.

    Raises:
        StabilityError: There is no run, or the file cannot be written.
    """
    with stdout_to_stderr():
        from yolo_stability.api import bundle

        written = bundle(line.words[0], out=line.keys.get("out"))
    if line.json:
        print(json.dumps({**dataclasses.asdict(written), "path": str(written.path)}))
    else:
        print("\n".join(written.lines()))
    return DONE


VERB = Verb(
    name="bundle",
    usage="RUN [out=FILE] [--json]",
    summary="an anonymous file below 1 MB about a run, for a bug report",
    call=call,
    keys=(Key(name="out", default=None, read=str),),
    unknown_key="Unknown key '{key}'.{hint} 'bundle' takes a run folder, out= and --json.",
    one="'bundle' takes one run folder: write bundle runs/detect/train.",
    examples=("yolo-stability bundle runs/detect/train out=my-run.zip",),
    details="""\
  RUN is a run folder. The zip file holds the steps, the norms per block, the
  events and the diagnosis, or results.csv of a plain Ultralytics run. Paths,
  file names and every word that this package does not know are replaced by
  salted hashes; values of keys that look like secrets are dropped. No image
  and no weight is in it. 'diagnose' reads the file.
""",
)
