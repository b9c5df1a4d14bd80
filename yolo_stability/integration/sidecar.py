"""`yolo_stability.yaml` in the run folder: our settings of a run, for when it is resumed.

They cannot travel in `trainer.args`: the config check of Ultralytics rejects keys it does not know.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from yolo_stability.config import StabilitySettings
from yolo_stability.errors import ConfigError, StabilityError
from yolo_stability.strict_yaml import load_yaml
from yolo_stability.trace.layout import replace_file

__all__ = ["SIDECAR", "resumed_settings", "write_sidecar"]

SIDECAR = "yolo_stability.yaml"


def write_sidecar(save_dir: Path, settings: StabilitySettings) -> None:
    """Write the settings of a run, whole or not at all: half of them would stand in the way of a resume.

    Args:
        save_dir: The run folder.
        settings: What to write.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    text: str = yaml.safe_dump(settings.model_dump(), sort_keys=False)
    replace_file(save_dir / SIDECAR, text.encode("utf-8"), sync=True)


def resumed_settings(save_dir: Path, settings: StabilitySettings) -> StabilitySettings:
    """Return the settings of a resumed run: those of its first sitting, under what was set to something else now.

    A rescue stands beside neither another guard than skip nor `fail_on`: of those the later word counts.

    Args:
        save_dir: The run folder.
        settings: Settings of this sitting; a value at its default counts as not given.

    Returns:
        The settings to use; unchanged when the folder holds none.

    Raises:
        StabilityError: The file is not what `write_sidecar` wrote.
    """
    file = save_dir / SIDECAR
    if not file.exists():
        return settings
    given = {k: v for k, v in settings.model_dump().items() if v != StabilitySettings.model_fields[k].default}
    try:
        earlier = StabilitySettings(**load_yaml(file.read_text(encoding="utf-8"), str(file)))
    except (OSError, TypeError, ValueError, ConfigError) as error:
        raise StabilityError(f"{file} cannot be read as settings; delete it to resume with the defaults.") from error
    kept = {k: v for k, v in earlier.model_dump().items() if not _was_of_the_moment(k, v)}
    if "rescue" in given:  # it outranks what it cannot stand beside, or it would never act
        kept.pop("guard", None)
        kept.pop("fail_on", None)
    elif {"guard", "fail_on"} & given.keys():
        kept.pop("rescue", None)
    return StabilitySettings(**{**kept, **given})


def _was_of_the_moment(key: str, value: object) -> bool:
    """Return whether a setting was meant for one sitting: damage at named steps, not that to a share of the data."""
    return key == "fault" and "@" in str(value)
