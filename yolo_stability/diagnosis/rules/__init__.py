"""Rules, one per file; importing this package imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolo_stability.core.registry import Registry

if TYPE_CHECKING:
    from yolo_stability.diagnosis.base import Rule

__all__ = ["RULES"]

RULES: Registry[Rule] = Registry(
    "rule", "yolo_stability.diagnosis.rules", "yolo_stability.diagnosis.base.Rule"
)
