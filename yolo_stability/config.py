"""The settings of this package that a user can type, checked by one pydantic model.

`StabilitySettings` is the only list of our own keys: the command line, the Python API and the help all read it. Keys
of Ultralytics never appear here; a test proves that the two sets do not meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo_stability.core.actions import LIVE_REMEDIES
from yolo_stability.core.errors import ConfigError, nearest
from yolo_stability.interventions.clips import CLIPS
from yolo_stability.interventions.faults import FAULTS
from yolo_stability.interventions.inits import INITS
from yolo_stability.interventions.norms import NORMS

__all__ = [
    "OWN_FLAGS",
    "OWN_KEYS",
    "SWITCHES",
    "OwnKey",
    "StabilitySettings",
    "check_rescue_settings",
    "ignored_by_auto",
    "make_settings",
]

OWN_FLAGS = {"json": "result as JSON on stdout, everything else on stderr"}
"""Bare words of the command line that are no settings of a run."""


def _listed(names: Iterable[str]) -> str:
    """Return names as one reads them out."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


class StabilitySettings(BaseModel):
    """What this package does to a training run; every field is a key on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    guard: Literal["off", "skip", "stop"] = Field(
        default="skip",
        description="on a step with NaN or Inf",
        json_schema_extra={"valid": "off, skip or stop"},
    )
    guard_limit: int = Field(
        default=10,
        ge=1,
        description="more skips in a row than this end the run",
        json_schema_extra={"valid": "a whole number, 1 or more"},
    )
    fail_on: Literal["never", "critical"] = Field(
        default="never",
        description="such a finding ends the run",
        json_schema_extra={"valid": "never or critical"},
    )
    rescue: str = Field(
        default="off",
        description="auto: go back and mend the run when it fails",
        json_schema_extra={"valid": f"off, auto, random or one of {', '.join(LIVE_REMEDIES)}"},
    )
    rescue_limit: int = Field(
        default=3,
        ge=1,
        description="remedies before a run is given up",
        json_schema_extra={"valid": "a whole number, 1 or more"},
    )
    watch_every: int = Field(
        default=10,
        ge=0,
        description="weight norms every so many steps; 0: never",
        json_schema_extra={"valid": "a whole number, 0 or more"},
    )
    incidents: int = Field(
        default=3,
        ge=0,
        description="bad steps explained and kept; 0: none",
        json_schema_extra={"valid": "a whole number, 0 or more"},
    )
    fault: str | None = Field(
        default=None,
        description="damage on purpose: nan_grad@3, label_noise:0.3, ...",
        json_schema_extra={"valid": f"KIND@N or KIND:SHARE; KIND is one of {', '.join(FAULTS)}"},
    )
    clip: str = Field(
        default="norm:10",
        description=f"by {_listed(CLIPS)}",
        json_schema_extra={
            "valid": f"one of {', '.join(CLIPS)}; a number follows a colon, such as norm:10"
        },
    )
    norm: str = Field(
        default="batch",
        description=f"by {_listed(NORMS)}",
        json_schema_extra={"valid": f"one of {', '.join(NORMS)}"},
    )
    init: str = Field(
        default="default",
        description=f"weights: {_listed(INITS)}",
        json_schema_extra={
            "valid": f"one of {', '.join(INITS)}; a number follows a colon, such as gain:3"
        },
    )
    act: str | None = Field(
        default=None,
        description="silu, relu, leaky_relu, gelu, tanh or sigmoid",
        json_schema_extra={"valid": "silu, relu, leaky_relu, gelu, tanh or sigmoid"},
    )
    residual: bool = Field(
        default=True,
        description="false: no skip connections inside blocks",
        json_schema_extra={"valid": "true or false"},
    )
    depth_mult: float = Field(
        default=1.0,
        gt=0,
        description="times as many repeats of every block",
        json_schema_extra={"valid": "a number above 0; 1 is the model's own depth"},
    )
    lr_mult: float = Field(
        default=1.0,
        gt=0,
        description="every learning rate times this factor",
        json_schema_extra={"valid": "a number above 0"},
    )
    l1: float = Field(
        default=0.0,
        ge=0,
        description="strength of an L1 penalty on the weights",
        json_schema_extra={"valid": "a number, 0 or more, such as 1e-5"},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKey:
    """One row of the table of our own keys.

    Attributes:
        name: What the user types before the equals sign.
        valid: The possible values, in words.
        default: What holds when the key is not given.
        help: One line that says what the key does.
        is_choice: Whether the values are a few fixed words.
    """

    name: str
    valid: str
    default: Any
    help: str
    is_choice: bool


def _table() -> dict[str, OwnKey]:
    """Read the table of own keys off the fields of `StabilitySettings`."""
    rows = {}
    for name, info in StabilitySettings.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        rows[name] = OwnKey(
            name=name,
            valid=str(extra["valid"]),
            default=info.default,
            help=str(info.description),
            is_choice=get_origin(info.annotation) is Literal,
        )
    return rows


OWN_KEYS: Mapping[str, OwnKey] = _table()
"""Our own keys by name, in the order in which help prints them."""

SWITCHES = ("clip", "norm", "init", "act", "residual", "depth_mult", "lr_mult", "l1")
"""Those of them that change what is trained, and how."""


def make_settings(**own: Any) -> StabilitySettings:
    """Check own keys and return them as settings.

    Args:
        **own: Values by key; keys that are absent keep their defaults.

    Returns:
        The settings, frozen.

    Raises:
        ConfigError: If a key is unknown or a value impossible; the text names the valid values of each.
    """
    for key in ("guard", "rescue"):
        if own.get(key) is False:  # YAML reads a bare `off` as False
            own[key] = "off"
    for key in ("clip", "norm"):
        if key in own and own[key] is None:  # Ultralytics' parser reads a bare `none` as None
            own[key] = "none"
    rescue = own.get("rescue", "off")
    if isinstance(rescue, str) and rescue not in {"off", "auto", "random", *LIVE_REMEDIES}:
        raise ConfigError(
            f"{_complaint('rescue', rescue)}{nearest(rescue, ['off', 'auto', *LIVE_REMEDIES])}"
        )
    try:
        settings = StabilitySettings(**own)
    except ValidationError as error:
        keys = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
        raise ConfigError(" ".join(_complaint(key, own.get(key)) for key in keys)) from None
    if settings.rescue != "off":
        check_rescue_settings(settings)
    return settings


def check_rescue_settings(settings: StabilitySettings) -> None:
    """Refuse settings beside which a rescue could do nothing.

    Args:
        settings: Settings with a rescue.

    Raises:
        ConfigError: One of them stands in its way.
    """
    named = f"rescue={settings.rescue}"
    if settings.guard != "skip":
        raise ConfigError(
            f"{named} goes back to what the guard keeps, but guard={settings.guard}: write guard=skip or leave guard "
            "out."
        )
    if settings.fail_on != "never":
        raise ConfigError(
            f"{named} mends what fail_on={settings.fail_on} would end the run for: leave one of them out; a run that "
            "cannot be rescued ends with exit code 3 anyway."
        )
    if settings.rescue == "restart" and settings.init == "default":
        raise ConfigError(
            f"{named} begins again with init=default, and this run has it from the start: leave {named} out, or write "
            "rescue=auto."
        )
    if settings.rescue == "quarantine" and not settings.incidents:
        raise ConfigError(
            f"{named} leaves out what incidents blame, but incidents=0: write incidents=3 or more."
        )


def _complaint(key: str, value: Any) -> str:
    """Say what is wrong with one own key."""
    if key not in OWN_KEYS:
        return f"Unknown key '{key}'.{nearest(key, OWN_KEYS)}"
    return f"'{key}={value}' is not possible: {key} is {OWN_KEYS[key].valid}."


def ignored_by_auto(overrides: Mapping[str, Any]) -> str | None:
    """Say which requested settings `optimizer=auto` will ignore.

    Args:
        overrides: Keys of Ultralytics that the user gave.

    Returns:
        One sentence, or None when nothing is ignored.
    """
    if str(overrides.get("optimizer") or "auto").lower() != "auto":
        return None
    ignored = [
        f"{key}={overrides[key]}" for key in ("lr0", "momentum") if overrides.get(key) is not None
    ]
    if not ignored:
        return None
    return (
        f"optimizer=auto ignores {' and '.join(ignored)} and picks its own; "
        f"name an optimizer, such as optimizer=SGD, to make it count."
    )
