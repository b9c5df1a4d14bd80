"""`yolo_stability.yaml` in the run folder: our settings of a run, for when it is resumed.

They cannot travel in `trainer.args`: the config check of Ultralytics rejects keys it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from yolo_stability.config import StabilitySettings, check_rescue_settings, is_default
from yolo_stability.core.errors import ConfigError, StabilityError
from yolo_stability.core.files import replace_file
from yolo_stability.core.strict_yaml import load_yaml

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


def resumed_settings(
    save_dir: Path, settings: StabilitySettings, tell: Callable[[str], None] = lambda text: None
) -> StabilitySettings:
    """Return the settings of a resumed run: those of its first sitting, under what was set to something else now.

    A rescue stands beside neither another guard than skip nor `fail_on`: of those the later word counts.

    Args:
        save_dir: The run folder.
        settings: Settings of this sitting; a value at its default counts as not given.
        tell: Takes a sentence for each earlier setting that has to give way.

    Returns:
        The settings to use; unchanged when the folder holds none.

    Raises:
        StabilityError: The file is not what `write_sidecar` wrote.
        ConfigError: A rescue was asked for now that could do nothing beside what is kept.
    """
    file = save_dir / SIDECAR
    if not file.exists():
        return settings
    given = {k: v for k, v in settings.model_dump().items() if not is_default(k, v)}
    try:
        earlier = StabilitySettings(**load_yaml(file.read_text(encoding="utf-8"), str(file)))
    except (OSError, TypeError, ValueError, ConfigError) as error:
        raise StabilityError(
            f"{file} cannot be read as settings; delete it to resume with the defaults."
        ) from error
    kept = {k: v for k, v in earlier.model_dump().items() if not _was_of_the_moment(k, v)}
    give_way = (
        ("guard", "fail_on")
        if "rescue" in given
        else ("rescue",)
        if {"guard", "fail_on"} & given.keys()
        else ()
    )
    for key in give_way:  # a rescue beside them would never act
        value = kept.pop(key)
        if key not in given and not is_default(key, value):
            tell(
                f"{key}={value} of the earlier sitting gives way: it cannot stand beside what this one asks for"
            )
    merged = StabilitySettings(**{**kept, **given})
    if merged.rescue != "off":
        check_rescue_settings(merged)
    return merged


def _was_of_the_moment(key: str, value: object) -> bool:
    """Return whether a setting was meant for one sitting: damage at named steps, not that to a share of the data."""
    return key == "fault" and "@" in str(value)
