"""The settings of this package that a user can type, checked by one pydantic model.

`StabilitySettings` defines each of our own keys once: name, type, default, values, one line of
help, group. Help, the signature of `StabilityMonitor`, the JSON Schemas, the page of keys and the
sidecar follow from it; a contract test proves it. Keys of Ultralytics never appear here; a test
proves that the two sets do not meet.
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
    "ignored_by_auto",
    "is_default",
    "make_settings",
]

OWN_FLAGS = {"json": "result as JSON on stdout, everything else on stderr"}
"""Bare words of the command line that are no settings of a run."""

RESCUES = ("off", "auto", "random", *LIVE_REMEDIES)

Group = Literal["guard", "rescue", "record", "fault", "optimizer switch", "model switch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """What is to be said of a key beside its type and default.

    Attributes:
        help: One line that says what the key does.
        group: What the key belongs to.
        valid: The possible values, in words; empty to derive them from the type and its bounds.
        note: What follows the derived words.
        bare: A value that YAML or Ultralytics' parser makes of a bare word, and that word.
    """

    help: str
    group: Group
    valid: str = ""
    note: str = ""
    bare: tuple[bool | None, str] | None = None


_OFF, _NONE = (False, "off"), (None, "none")
_CLIPS = f"one of {', '.join(CLIPS.names)}; a number follows a colon, such as norm:10"
_INITS = f"one of {', '.join(INITS.names)}; a number follows a colon, such as gain:3"
_FAULTS = f"KIND@N or KIND:SHARE; KIND is one of {', '.join(FAULTS.names)}"
_REMEDIES = f"off, auto, random or one of {', '.join(LIVE_REMEDIES)}"


class StabilitySettings(BaseModel):
    """What this package does to a training run; every field is a key on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    guard: Annotated[
        Literal["off", "skip", "stop"],
        _About(help="on a step with NaN or Inf", group="guard", bare=_OFF),
    ] = "skip"
    guard_limit: Annotated[
        int,
        Field(ge=1),
        _About(help="more skips in a row than this end the run", group="guard"),
    ] = 10
    fail_on: Annotated[
        Literal["never", "critical"],
        _About(help="such a finding ends the run", group="guard"),
    ] = "never"
    rescue: Annotated[
        str,
        _About(
            help="auto: go back and mend the run when it fails",
            group="rescue",
            valid=_REMEDIES,
            bare=_OFF,
        ),
    ] = "off"
    rescue_limit: Annotated[
        int,
        Field(ge=1),
        _About(help="remedies before a run is given up", group="rescue"),
    ] = 3
    watch_every: Annotated[
        int,
        Field(ge=0),
        _About(help="weight norms every so many steps; 0: never", group="record"),
    ] = 10
    incidents: Annotated[
        int,
        Field(ge=0),
        _About(help="bad steps explained and kept; 0: none", group="record"),
    ] = 3
    fault: Annotated[
        str | None,
        _About(
            help="damage on purpose: nan_grad@3, label_noise:0.3, ...", group="fault", valid=_FAULTS
        ),
    ] = None
    clip: Annotated[
        str,
        _About(
            help=f"by {listing(CLIPS, 'or')}", group="optimizer switch", valid=_CLIPS, bare=_NONE
        ),
    ] = "norm:10"
    norm: Annotated[
        str,
        _About(
            help=f"by {listing(NORMS, 'or')}",
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
            help=listing(ACTIVATION_NAMES, "or"),
            group="model switch",
            valid=listing(ACTIVATION_NAMES, "or"),
        ),
    ] = None
    residual: Annotated[
        bool,
        _About(help="false: no skip connections inside blocks", group="model switch"),
    ] = True
    depth_mult: Annotated[
        float,
        Field(gt=0),
        _About(
            help="times as many repeats of every block",
            group="model switch",
            note="; 1 is the model's own depth",
        ),
    ] = 1.0
    lr_mult: Annotated[
        float,
        Field(gt=0),
        _About(help="every learning rate times this factor", group="optimizer switch"),
    ] = 1.0
    l1: Annotated[
        float,
        Field(ge=0),
        _About(
            help="strength of an L1 penalty on the weights",
            group="optimizer switch",
            note=", such as 1e-5",
        ),
    ] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKey:
    """One row of the table of our own keys.

    Attributes:
        name: What the user types before the equals sign.
        type: Type of the value.
        valid: The possible values, in words.
        default: What holds when the key is not given.
        help: One line that says what the key does.
        group: What the key belongs to.
        is_choice: Whether the values are a few fixed words.
        bare: A value that YAML or Ultralytics' parser makes of a bare word, and that word.
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
    """Read the table of own keys off the fields of `StabilitySettings`."""
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
    """Return the possible values of a field in words, from its type and bounds."""
    if get_origin(info.annotation) is Literal:
        return listing(get_args(info.annotation), "or")
    if info.annotation is bool:
        return "true or false"
    above = [part.gt for part in info.metadata if hasattr(part, "gt")]
    least = [part.ge for part in info.metadata if hasattr(part, "ge")]
    kind = "a whole number" if info.annotation is int else "a number"
    return f"{kind} above {above[0]}" if above else f"{kind}, {least[0]} or more"


OWN_KEYS: Mapping[str, OwnKey] = _table()
"""Our own keys by name, in the order in which help prints them."""

SWITCHES = tuple(name for name, key in OWN_KEYS.items() if key.group.endswith("switch"))
"""Those of them that change what is trained, and how."""

MODEL_SWITCHES = tuple(name for name, key in OWN_KEYS.items() if key.group == "model switch")
"""Those of them that act on the model, and so on a probe."""


def is_default(key: str, value: Any) -> bool:
    """Return whether a key is our own and has its default value."""
    return key in OWN_KEYS and bool(OWN_KEYS[key].default == value)


def make_settings(**own: Any) -> StabilitySettings:
    """Check own keys and return them as settings.

    Args:
        **own: Values by key; keys that are absent keep their defaults.

    Returns:
        The settings, frozen.

    Raises:
        ConfigError: If a key is unknown or a value impossible; the text names the valid values of each.
    """
    # YAML makes False of a bare `off`, Ultralytics None of `none`
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
        return unknown("key", key, OWN_KEYS)
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
