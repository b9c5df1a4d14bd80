"""The options of yolo_stability, validated by one pydantic model.

`StabilitySettings` defines each option once: name, type, default, valid values, one line of help
and group. The help text, the signature of `StabilityMonitor`, the JSON Schemas, the reference page
of the options and the sidecar file are derived from it, as a contract test verifies. Ultralytics
keys never appear here; a test verifies that the two sets are disjoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from yolo_stability.core.actions import LIVE_REMEDIES
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest, unknown
from yolo_stability.core.text import listing
from yolo_stability.interventions.activation_names import ACTIVATION_NAMES
from yolo_stability.interventions.clips import CLIPS
from yolo_stability.interventions.faults import FAULTS
from yolo_stability.interventions.inits import INITS
from yolo_stability.interventions.norms import NORMS

__all__ = [
    "MODEL_SWITCHES",
    "OWN_FLAGS",
    "OWN_KEYS",
    "SWITCHES",
    "OwnKey",
    "StabilitySettings",
    "check_rescue_settings",
    "is_default",
    "make_settings",
]

OWN_FLAGS = {"json": "result as JSON on stdout, everything else on stderr"}
"""Command-line flags that are not options of a run."""

RESCUES = ("off", "auto", "random", *LIVE_REMEDIES)

Group = Literal["guard", "rescue", "record", "fault", "optimizer switch", "model switch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """Documentation of an option beyond its type and default.

    Attributes:
        help: One line that describes the effect.
        group: Group of options that it belongs to.
        valid: Description of the valid values; empty to derive it from the type and its bounds.
        note: Text appended to the derived description.
        bare: A value that YAML or Ultralytics' parser returns for a bare word, and that word.
    """

    help: str
    group: Group
    valid: str = ""
    note: str = ""
    bare: tuple[bool | None, str] | None = None


_OFF, _NONE = (False, "off"), (None, "none")
_CLIPS = f"one of {', '.join(CLIPS.names)}, with an optional number, such as norm:10"
_INITS = f"one of {', '.join(INITS.names)}, with an optional number, such as gain:3"
_FAULTS = f"KIND@N or KIND:SHARE, where KIND is one of {', '.join(FAULTS.names)}"
_REMEDIES = f"off, auto, random or one of {', '.join(LIVE_REMEDIES)}"


class StabilitySettings(BaseModel):
    """The options of a training run; every field is also a command-line option.

    Example:
        >>> settings = StabilitySettings(guard="stop", clip="agc:0.01")
        >>> settings.guard, settings.clip, settings.rescue
        ('stop', 'agc:0.01', 'off')
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    guard: Annotated[
        Literal["off", "skip", "stop"],
        _About(help="action on NaN or Inf", group="guard", bare=_OFF),
    ] = "skip"
    guard_limit: Annotated[
        int,
        Field(ge=1),
        _About(help="stop after more consecutive skips than this", group="guard"),
    ] = 10
    fail_on: Annotated[
        Literal["never", "critical"],
        _About(help="findings that stop the run", group="guard"),
    ] = "never"
    rescue: Annotated[
        str,
        _About(
            help="auto: roll back and apply a remedy on failure",
            group="rescue",
            valid=_REMEDIES,
            bare=_OFF,
        ),
    ] = "off"
    rescue_limit: Annotated[
        int,
        Field(ge=1),
        _About(help="remedies to try before the run stops", group="rescue"),
    ] = 3
    watch_every: Annotated[
        int,
        Field(ge=0),
        _About(help="interval of weight norms in steps; 0: never", group="record"),
    ] = 10
    incidents: Annotated[
        int,
        Field(ge=0),
        _About(help="bad steps to diagnose and save; 0: none", group="record"),
    ] = 3
    fault: Annotated[
        str | None,
        _About(
            help="injected fault: nan_grad@3, label_noise:0.3, ...", group="fault", valid=_FAULTS
        ),
    ] = None
    clip: Annotated[
        str,
        _About(
            help=f"type: {listing(CLIPS, 'or')}", group="optimizer switch", valid=_CLIPS, bare=_NONE
        ),
    ] = "norm:10"
    norm: Annotated[
        str,
        _About(
            help=f"layers: {listing(NORMS, 'or')}",
            group="model switch",
            valid=f"one of {', '.join(NORMS)}",
            bare=_NONE,
        ),
    ] = "batch"
    init: Annotated[
        str,
        _About(help=f"weights: {listing(INITS, 'or')}", group="model switch", valid=_INITS),
    ] = "default"
    act: Annotated[
        str | None,
        _About(
            help=f"function: {listing(ACTIVATION_NAMES, 'or')}",
            group="model switch",
            valid=listing(ACTIVATION_NAMES, "or"),
        ),
    ] = None
    residual: Annotated[
        bool,
        _About(help="false: no skip connections within blocks", group="model switch"),
    ] = True
    depth_mult: Annotated[
        float,
        Field(gt=0),
        _About(
            help="factor on the number of repeats of every block",
            group="model switch",
            note="; 1 is the model's own depth",
        ),
    ] = 1.0
    lr_mult: Annotated[
        float,
        Field(gt=0),
        _About(help="factor on every learning rate", group="optimizer switch"),
    ] = 1.0
    l1: Annotated[
        float,
        Field(ge=0),
        _About(
            help="coefficient of an L1 penalty on the weights",
            group="optimizer switch",
            note=", such as 1e-5",
        ),
    ] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKey:
    """One option of yolo_stability.

    Attributes:
        name: Name, which the user types before the equals sign.
        type: Type of the value.
        valid: Description of the valid values.
        default: Default value.
        help: One line that describes the effect.
        group: Group of options that it belongs to.
        is_choice: Whether the valid values are a fixed set of words.
        bare: A value that YAML or Ultralytics' parser returns for a bare word, and that word.
    """

    name: str
    type: Any
    valid: str
    default: Any
    help: str
    group: Group
    is_choice: bool
    bare: tuple[bool | None, str] | None


def _table() -> dict[str, OwnKey]:
    """Build the table of options from the fields of `StabilitySettings`."""
    rows = {}
    for name, info in StabilitySettings.model_fields.items():
        about = next(part for part in info.metadata if isinstance(part, _About))
        rows[name] = OwnKey(
            name=name,
            type=info.annotation,
            valid=about.valid or f"{_valid(info)}{about.note}",
            default=info.default,
            help=about.help,
            group=about.group,
            is_choice=get_origin(info.annotation) is Literal,
            bare=about.bare,
        )
    return rows


def _valid(info: FieldInfo) -> str:
    """Describe the valid values of a field from its type and bounds."""
    if get_origin(info.annotation) is Literal:
        return listing(get_args(info.annotation), "or")
    if info.annotation is bool:
        return "true or false"
    above = [part.gt for part in info.metadata if hasattr(part, "gt")]
    least = [part.ge for part in info.metadata if hasattr(part, "ge")]
    kind = "a whole number" if info.annotation is int else "a number"
    return f"{kind} above {above[0]}" if above else f"{kind}, {least[0]} or more"


OWN_KEYS: Mapping[str, OwnKey] = _table()
"""Options by name, in the order of the help text."""

SWITCHES = tuple(name for name, key in OWN_KEYS.items() if key.group.endswith("switch"))
"""Options that change the model, the optimizer or the gradients."""

MODEL_SWITCHES = tuple(name for name, key in OWN_KEYS.items() if key.group == "model switch")
"""Options that change the model, and thus also apply to a probe."""


def is_default(key: str, value: Any) -> bool:
    """Return whether a key is an option of yolo_stability and has its default value."""
    return key in OWN_KEYS and bool(OWN_KEYS[key].default == value)


def make_settings(**own: Any) -> StabilitySettings:
    """Validate options and return them as settings.

    Args:
        **own: Values by option; absent options keep their defaults.

    Returns:
        The settings, frozen.

    Raises:
        ConfigError: If an option is unknown or a value is invalid; the message lists the valid
            values of each.

    Example:
        >>> make_settings(guard="stop").guard
        'stop'
    """
    # YAML reads a bare `off` as False, Ultralytics' parser `none` as None
    for name, key in OWN_KEYS.items():
        if key.bare is not None and name in own and own[name] is key.bare[0]:
            own[name] = key.bare[1]
    rescue = own.get("rescue", "off")
    if isinstance(rescue, str) and rescue not in RESCUES:
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
    """Raise if other settings would prevent a rescue from having any effect.

    Args:
        settings: Settings with a rescue.

    Raises:
        ConfigError: A setting conflicts with the rescue.
    """
    named = f"rescue={settings.rescue}"
    if settings.guard != "skip":
        raise ConfigError(
            f"{named} rolls back to a state that the guard saves, but guard={settings.guard}: "
            "use guard=skip or remove guard."
        )
    if settings.fail_on != "never":
        raise ConfigError(
            f"{named} repairs a run that fail_on={settings.fail_on} would stop: remove one of the "
            "two; a run that cannot be rescued ends with exit code 3 in any case."
        )
    if settings.rescue == "restart" and settings.init == "default":
        raise ConfigError(
            f"{named} restarts with init=default, which this run already uses: remove {named} or "
            "use rescue=auto."
        )
    if settings.rescue == "quarantine" and not settings.incidents:
        raise ConfigError(
            f"{named} excludes the images that incidents blame, but incidents=0: use incidents=3 "
            "or more."
        )


def _complaint(key: str, value: Any) -> str:
    """Describe what is wrong with one option."""
    if key not in OWN_KEYS:
        return unknown("key", key, OWN_KEYS)
    return f"Invalid value {key}={value}: expected {OWN_KEYS[key].valid}."
