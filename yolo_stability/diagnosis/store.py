"""`diagnosis.json`, stored beside the trace as strict JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from yolo_stability.core.errors import TraceError
from yolo_stability.core.files import replace_file
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.json_values import us_causes
from yolo_stability.core.types import Trace
from yolo_stability.trace.serialize import strict_json

__all__ = ["DIAGNOSIS_FILE", "diagnosis_from_json", "diagnosis_to_json", "write_diagnosis"]

DIAGNOSIS_FILE = "diagnosis.json"
SCHEMA_VERSION = 2
"""Version 1 lacks learning, end, best, rescued and some fields of findings."""


def write_diagnosis(trace: Trace, diagnosis: Diagnosis) -> None:
    """Write `diagnosis.json` beside a trace; an unwritable folder is ignored."""
    try:
        replace_file(
            trace.path / DIAGNOSIS_FILE,
            (json.dumps(diagnosis_to_json(diagnosis), indent=1) + "\n").encode(),
        )
    except OSError:
        return


def diagnosis_to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the content of `diagnosis.json`, as strict JSON."""
    content: dict[str, Any] = strict_json(dataclasses.asdict(diagnosis))
    return {"schema_version": SCHEMA_VERSION, **content}


def diagnosis_from_json(text: str | bytes, source: object) -> Diagnosis:
    """Return the diagnosis in the content of `diagnosis.json`, of this schema or the first.

    Args:
        text: Content of the file.
        source: Where it comes from, for messages.

    Raises:
        TraceError: It is damaged, or a newer version of the package wrote it.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        content = json.loads(text)
        version = int(content.pop("schema_version", 1))
        if version > SCHEMA_VERSION:
            raise TraceError(
                f"'{source}' was written by a newer yolo_stability (diagnosis schema {version}, "
                f"this one reads up to {SCHEMA_VERSION}): upgrade with "
                "`pip install -U yolo-stability`."
            )
        return TypeAdapter(Diagnosis).validate_python(us_causes(content))
    except (ValueError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        raise TraceError(f"'{source}' is damaged: its diagnosis cannot be read.") from error
