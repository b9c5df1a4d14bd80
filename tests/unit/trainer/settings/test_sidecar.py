"""Settings of a resumed run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import ConfigError, StabilityError
from yolo_stability.trainer.settings.sidecar import SIDECAR, resumed_settings, write_sidecar


def test_what_is_set_now_comes_over_what_was_set_then(tmp_path: Path) -> None:
    write_sidecar(tmp_path, StabilitySettings(guard="stop", watch_every=3, fault="nan_grad@1"))
    now = resumed_settings(tmp_path, StabilitySettings(watch_every=5))
    assert now == StabilitySettings(guard="stop", watch_every=5)  # the fault stays behind


def test_without_a_sidecar_nothing_changes(tmp_path: Path) -> None:
    settings = StabilitySettings(guard="off")
    assert resumed_settings(tmp_path, settings) is settings


@pytest.mark.parametrize("content", ["guard: maybe", "[1, 2", "just text", "unknown: 1"])
def test_a_damaged_sidecar_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / SIDECAR).write_text(content)
    with pytest.raises(StabilityError, match="delete it to resume"):
        resumed_settings(tmp_path, StabilitySettings())


def test_a_sidecar_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sidecar(tmp_path, StabilitySettings(guard="stop"))
    with monkeypatch.context() as patch:
        patch.setattr(
            os,
            "fsync",
            lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
        )
        with pytest.raises(OSError, match="No space left"):
            write_sidecar(tmp_path, StabilitySettings(guard="off"))
    assert resumed_settings(tmp_path, StabilitySettings()).guard == "stop"
    assert [p.name for p in tmp_path.iterdir()] == [SIDECAR]


def test_damage_to_a_share_of_the_data_goes_on(tmp_path: Path) -> None:
    """It stands for corrupt files, which are still there when a run is resumed."""
    write_sidecar(tmp_path, StabilitySettings(fault="label_noise:0.3"))
    assert resumed_settings(tmp_path, StabilitySettings()).fault == "label_noise:0.3"


@pytest.mark.parametrize("earlier", [{"guard": "stop"}, {"guard": "off"}, {"fail_on": "critical"}])
def test_a_rescue_outranks_what_it_cannot_stand_beside(
    earlier: dict[str, str], tmp_path: Path
) -> None:
    """Otherwise the run would end before it acts."""
    write_sidecar(tmp_path, StabilitySettings(**earlier, watch_every=3))
    told: list[str] = []
    now = resumed_settings(tmp_path, StabilitySettings(rescue="auto"), told.append)
    ((key, value),) = earlier.items()
    assert told == [
        f"{key}={value} of the earlier sitting gives way: it cannot stand beside what this one asks for"
    ]
    assert now == StabilitySettings(rescue="auto", watch_every=3)


@pytest.mark.parametrize("given", [{"guard": "stop"}, {"fail_on": "critical"}])
def test_what_a_rescue_cannot_stand_beside_ends_it(given: dict[str, str], tmp_path: Path) -> None:
    write_sidecar(tmp_path, StabilitySettings(rescue="auto", watch_every=3))
    assert resumed_settings(tmp_path, StabilitySettings(**given)) == StabilitySettings(
        **given, watch_every=3
    )


def test_a_rescue_that_could_do_nothing_is_refused(tmp_path: Path) -> None:
    write_sidecar(tmp_path, StabilitySettings(incidents=0))
    with pytest.raises(ConfigError, match="incidents=0: use incidents=3 or more"):
        resumed_settings(tmp_path, StabilitySettings(rescue="quarantine"))


def test_nothing_is_told_where_nothing_gives_way(tmp_path: Path) -> None:
    write_sidecar(tmp_path, StabilitySettings(watch_every=3))
    told: list[str] = []
    assert (
        resumed_settings(tmp_path, StabilitySettings(rescue="auto"), told.append).rescue == "auto"
    )
    assert resumed_settings(tmp_path, StabilitySettings(guard="stop"), told.append).guard == "stop"
    assert told == []
