"""The notebooks run with the long tests: each takes from half a minute to a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the notebooks."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.full)
