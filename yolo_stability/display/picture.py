"""`gradient_norms.png`: the picture of a run, from its trace alone."""

from __future__ import annotations

__all__ = []
