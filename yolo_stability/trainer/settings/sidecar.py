"""`yolo_stability.yaml` in the run folder: the yolo_stability options of a run, for its resume.

They cannot be stored in `trainer.args`, because Ultralytics' config check rejects unknown keys.
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
    """Write the settings of a run atomically; a partial file would prevent a resume.

    Args:
        save_dir: Run folder.
        settings: Settings to write.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    text: str = yaml.safe_dump(settings.model_dump(), sort_keys=False)
    replace_file(save_dir / SIDECAR, text.encode("utf-8"), sync=True)


def resumed_settings(
    save_dir: Path, settings: StabilitySettings, warn: Callable[[str], None] = lambda text: None
) -> StabilitySettings:
    """Return the settings of a resumed run: those of its first session, overridden by new ones.

    A rescue is compatible neither with a guard other than skip nor with `fail_on`; of these, the
    setting of the current session takes precedence.

    Args:
        save_dir: Run folder.
        settings: Settings of the current session; a value equal to its default counts as not given.
        warn: Receives one sentence for each earlier setting that is dropped.

    Returns:
        The settings to use; `settings` unchanged if the folder has no sidecar.

    Raises:
        StabilityError: The file was not written by `write_sidecar`.
        ConfigError: The requested rescue is incompatible with the settings that are kept.
    """
    file = save_dir / SIDECAR
    if not file.exists():
        return settings
    given = {k: v for k, v in settings.model_dump().items() if not is_default(k, v)}
    try:
        earlier = StabilitySettings(**load_yaml(file.read_text(encoding="utf-8"), str(file)))
    except (OSError, TypeError, ValueError, ConfigError) as error:
        raise StabilityError(
            f"{file} is not a valid settings file; delete it to resume with the defaults."
        ) from error
    kept = {k: v for k, v in earlier.model_dump().items() if not _applies_once(k, v)}
    dropped = (
        ("guard", "fail_on")
        if "rescue" in given
        else ("rescue",)
        if {"guard", "fail_on"} & given.keys()
        else ()
    )
    for key in dropped:  # with them, a rescue would never act
        value = kept.pop(key)
        if key not in given and not is_default(key, value):
            warn(
                f"{key}={value} of the earlier session is dropped: "
                "it is incompatible with the settings of this session"
            )
    merged = StabilitySettings(**{**kept, **given})
    if merged.rescue != "off":
        check_rescue_settings(merged)
    return merged


def _applies_once(key: str, value: object) -> bool:
    """Return whether a setting is for one session only: a fault at given steps."""
    return key == "fault" and "@" in str(value)
