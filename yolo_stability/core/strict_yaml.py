"""YAML for settings: no duplicate keys, no aliases, numbers as people write them, errors in one sentence."""

from __future__ import annotations

import re
from typing import Any

import yaml

from yolo_stability.core.errors import ConfigError

__all__ = ["load_yaml"]


class _Loader(yaml.SafeLoader):
    """Refuses what would silently lose or multiply settings."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a few of them can unfold to gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ConfigError(
                f"line {mark.line + 1}: aliases (*name) are not allowed here; write the value out."
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that comes twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise ConfigError(f"line {key_node.start_mark.line + 1}: a key must be a word.")
            if key in seen:
                raise ConfigError(
                    f"line {key_node.start_mark.line + 1}: '{key}' is there twice; keep one."
                )
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


# YAML 1.1 reads 1e-3 as text, for want of a dot.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def load_yaml(text: str, where: str) -> dict[str, Any]:
    """Read a mapping.

    Args:
        text: The YAML.
        where: Its file, for messages.

    Raises:
        ConfigError: It is no YAML, no mapping, has a key twice, or uses aliases; the text names file and line.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
    except ConfigError as error:
        raise ConfigError(f"{where}, {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{where}{place} is no YAML: {getattr(error, 'problem', None) or error}."
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{where} must hold keys and values; it holds {type(content).__name__}.")
    return content
