"""The first notebook runs with the short tests, the others with the long ones: together they take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHORT = "01_quickstart.ipynb"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long notebooks."""
    for item in items:
        if item.path.parent == HERE and item.path.name != SHORT:
            item.add_marker(pytest.mark.full)
