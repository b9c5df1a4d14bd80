"""Checks of a dataset's contents, one kind of finding per file; importing this imports none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolo_stability.core.registry import Registry

if TYPE_CHECKING:
    from yolo_stability.data.check.checks._base import DataCheck

__all__ = ["CHECKS"]

CHECKS: Registry[DataCheck] = Registry("check", __name__, f"{__name__}._base.DataCheck")
"""All checks by the kind of their finding."""
