"""Strict YAML for settings: no duplicate keys, no aliases, errors in one sentence."""

from __future__ import annotations

import re
from typing import Any

import yaml

from yolo_stability.core.errors import ConfigError

__all__ = ["load_yaml"]


class _Loader(yaml.SafeLoader):
    """YAML loader that rejects what would silently lose or multiply settings."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Reject aliases: a few of them can expand to gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ConfigError(
                f"line {mark.line + 1}: aliases (*name) are not allowed; write the value out."
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Reject duplicate keys."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise ConfigError(f"line {key_node.start_mark.line + 1}: a key must be a string.")
            if key in seen:
                raise ConfigError(
                    f"line {key_node.start_mark.line + 1}: duplicate key '{key}'; keep one."
                )
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


# YAML 1.1 reads 1e-3 as text because it has no decimal point.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def load_yaml(text: str, where: str) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        text: The YAML text.
        where: Name of its file, for messages.

    Raises:
        ConfigError: Not YAML, not a mapping, a duplicate key, or an alias; the message names file
            and line.

    Example:
        >>> load_yaml("lr0: 1e-3", "settings.yaml")
        {'lr0': 0.001}
    """
    try:
        content = yaml.load(text, Loader=_Loader)
    except ConfigError as error:
        raise ConfigError(f"{where}, {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{where}{place} is not valid YAML: {getattr(error, 'problem', None) or error}."
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{where} must be a mapping of keys to values, not {type(content).__name__}."
        )
    return content
