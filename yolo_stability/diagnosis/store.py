"""`diagnosis.json`, stored beside the trace as strict JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from yolo_stability.core.files import replace_file
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.types import Trace
from yolo_stability.trace.serialize import strict_json

__all__ = ["DIAGNOSIS_FILE", "diagnosis_to_json", "write_diagnosis"]


DIAGNOSIS_FILE = "diagnosis.json"


SCHEMA_VERSION = 1


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
