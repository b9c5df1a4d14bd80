"""Settings that `optimizer=auto` ignores, and trainers that use them nevertheless."""

from __future__ import annotations

from typing import Any

import pytest

from yolo_stability.core.ignored_settings import ignored_by_auto, ignored_settings


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"lr0": 0.01}, ["lr0=0.01"]),
        ({"lr0": 0.01, "momentum": 0.9, "optimizer": "Auto"}, ["lr0=0.01", "momentum=0.9"]),
        ({"lr0": 0.01, "optimizer": "SGD"}, []),
        ({"epochs": 3}, []),
    ],
)
def test_auto_reports_ignored_settings(overrides: dict[str, Any], named: list[str]) -> None:
    text = ignored_by_auto(overrides)
    assert (text is not None) == bool(named)
    assert all(name in str(text) for name in named)
    assert not named or "optimizer=SGD" in str(text)


@pytest.mark.parametrize(
    ("requested", "effective", "ignored"),
    [
        ({"lr0": 0.02}, {"groups": {"pg0": {"lr": 0.02}, "pg1": {"lr": 0.002}}}, []),
        ({"lr0": 0.02}, {"groups": {"weight": {"lr": 0.002}}}, ["lr0=0.02"]),
        ({"lr0": 0.02, "lr_mult": 5.0}, {"groups": {"pg0": {"lr": 0.1}}}, []),
        ({"lr0": 0.1, "lr_mult": 5.0}, {"groups": {"pg0": {"lr": 0.1}}}, ["lr0=0.1"]),
        (
            {"lr0": 0.02, "momentum": 0.8},
            {"groups": {"pg0": {"lr": 0.02}}, "momentum": 0.9},
            ["momentum=0.8"],
        ),
        ({"momentum": 0.9}, {"groups": {"pg0": {"lr": 0.02}}, "momentum": 0.9}, []),
        ({"momentum": 0.9}, {"momentum": None}, ["momentum=0.9"]),
        ({"lr0": 0.02}, {"groups": {"pg0": {"lr": 0.04}}, "stock_chooses_rate": False}, []),
        ({"lr0": 0.02}, {}, ["lr0=0.02"]),
    ],
)
def test_what_the_optimizer_has_is_not_ignored(
    requested: dict[str, Any], effective: dict[str, Any], ignored: list[str]
) -> None:
    assert ignored_settings(requested, effective) == ignored
    assert (ignored_by_auto(requested, effective) is not None) == bool(ignored)
