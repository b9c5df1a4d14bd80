"""Incident folders: what is written is what is read, within a limit, and nothing in them is run."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yolo_stability.core.errors import StabilityError
from yolo_stability.guard.incidents.folder import Incident, json_safe, read_incident, write_incident
from yolo_stability.guard.incidents.window import (
    KeptBatch,
    KeptWindow,
    RandomState,
    forked_random_state,
)

CPU = torch.device("cpu")
MB = 2**20


def kept(iteration: int, megabytes: int = 1, loss: float = 1.5) -> KeptBatch:
    return KeptBatch(
        iteration=iteration,
        batch={
            "img": torch.rand(1, megabytes, 512, 512),
            "im_file": [f"{iteration}.jpg"],
            "cls": torch.tensor([[3.0]]),
            "bboxes": torch.rand(1, 4),
            "batch_idx": torch.zeros(1),
        },
        random=RandomState.now(CPU),
        loss=torch.tensor(loss),
    )


def incident(*window: KeptBatch, culprit: int | None = None, weights: int = 2) -> Incident:
    return Incident(
        facts={"step": 7, "culprit": {"micro_batch": culprit}, "rate": float("nan")},
        weights={"a.weight": torch.rand(weights, 512, 512)},
        extras={"class_weights": torch.tensor([1.0, 2.0])},
        window=window,
        culprit=culprit,
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = incident(kept(4), kept(5, loss=torch.nan), culprit=1)
    assert write_incident(tmp_path / "x" / "step-000007", written) == ()
    assert names(tmp_path / "x") == {"step-000007"}
    read = read_incident(tmp_path / "x" / "step-000007", CPU)
    assert read.facts["step"] == 7
    assert read.facts["rate"] == "nan"
    assert read.culprit == 1
    assert read.weights is not None
    assert written.weights is not None
    assert torch.equal(read.weights["a.weight"], written.weights["a.weight"])
    assert read.extras["class_weights"].tolist() == [1.0, 2.0]
    for ours, theirs in zip(read.window, written.window, strict=True):
        assert ours.iteration == theirs.iteration
        assert ours.batch["im_file"] == theirs.batch["im_file"]
        assert all(
            torch.equal(ours.batch[k], v)
            for k, v in theirs.batch.items()
            if isinstance(v, torch.Tensor)
        )
        assert not ours.dropped
    assert [float(k.loss) for k in read.window if k.loss is not None] == pytest.approx(
        [1.5, torch.nan], nan_ok=True
    )
    labels = json.loads((tmp_path / "x" / "step-000007" / "incident.json").read_text())["window"][
        0
    ]["images"]
    assert labels[0]["file"] == "4.jpg"
    assert labels[0]["labels"][0][0] == 3.0


@pytest.mark.parametrize(
    ("megabytes", "missing"),
    [
        (5.1, []),
        (4.9, ["the weights (2.0 MB)"]),
        (2.1, ["the weights", "the images of micro-batch 0 (1.0 MB)"]),
        (1.1, ["the weights", "the images of micro-batch 0", "the images of micro-batch 2"]),
        (0.5, ["the weights", "micro-batch 0", "micro-batch 2", "micro-batch 1"]),
    ],
)
def test_weights_are_omitted_first_and_the_culprits_images_last(
    tmp_path: Path, megabytes: float, missing: list[str]
) -> None:
    written = incident(kept(0), kept(1), kept(2), culprit=1)
    omitted = write_incident(tmp_path / "step-1", written, limit=int(megabytes * MB))
    assert len(omitted) == len(missing)
    assert all(part in text for part, text in zip(missing, omitted, strict=True))
    assert all(f"exceed {int(megabytes * MB) / MB:g} MB" in text for text in omitted)
    assert (
        sum(path.stat().st_size for path in (tmp_path / "step-1").iterdir())
        < megabytes * MB + 0.1 * MB
    )
    read = read_incident(tmp_path / "step-1", CPU)
    assert read.omitted == omitted
    assert (read.weights is None) == any("weights" in text for text in omitted)
    assert [k.dropped for k in read.window] == [
        any(f"micro-batch {i}" in t for t in omitted) for i in range(3)
    ]


def test_a_view_is_written_without_what_it_is_a_view_of(tmp_path: Path) -> None:
    window = kept(0)
    window.batch["img"] = torch.rand(40, 1, 512, 512)[3:4]
    write_incident(tmp_path / "step-1", incident(window))
    assert (tmp_path / "step-1" / "batch-0.pt").stat().st_size < 1.1 * MB


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *args: Any, **kwargs: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_incident(tmp_path / "step-1", incident(kept(0)))
    assert names(tmp_path) == set()


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["weights.pt", "batch-0.pt", "rng.pt"])
def test_a_file_that_would_run_code_does_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_incident(tmp_path / "step-1", incident(kept(0)))
    torch.save({"img": Bomb()}, tmp_path / "step-1" / name)
    with pytest.raises(StabilityError, match="is damaged"):
        read_incident(tmp_path / "step-1", CPU)
    (tmp_path / "step-1" / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(StabilityError, match="is damaged"):
        read_incident(tmp_path / "step-1", CPU)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 1, "window": 3}']
)
def test_a_damaged_folder_gets_one_sentence(tmp_path: Path, text: str) -> None:
    write_incident(tmp_path / "step-1", incident(kept(0)))
    (tmp_path / "step-1" / "incident.json").write_text(text)
    with pytest.raises(StabilityError, match=r"is damaged .*train again"):
        read_incident(tmp_path / "step-1", CPU)


def test_another_version_and_no_incident_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StabilityError, match="contains no incident; give a folder that contains"):
        read_incident(tmp_path, CPU)
    with pytest.raises(StabilityError, match="is not a folder"):
        read_incident(tmp_path / "nowhere", CPU)
    (tmp_path / "incident.json").write_text('{"schema_version": 9}')
    with pytest.raises(
        StabilityError, match="incident version 9, but this yolo-stability reads version 1"
    ):
        read_incident(tmp_path, CPU)


def test_odd_values_become_json() -> None:
    value = {"a": (1, float("inf")), 2: Path("x"), "t": torch.tensor(1.0), "n": None, "b": True}
    assert json.loads(json.dumps(json_safe(value), allow_nan=False)) == {
        "a": [1, "inf"], "2": "x", "t": "tensor(1.)", "n": None, "b": True
    }  # fmt: skip


# --- what is held in memory -----------------------------------------------------------------------


def test_batches_are_kept_by_reference() -> None:
    window, one = KeptWindow(), kept(0)
    window.add(one)
    assert window.batches[0].batch["img"].data_ptr() == one.batch["img"].data_ptr()
    window.clear()
    assert window.batches == []


def test_a_window_that_holds_too_much_drops_its_oldest_images_never_the_newest() -> None:
    window = KeptWindow(limit=int(2.5 * MB))
    for i in range(5):
        window.add(kept(i))
        assert [k.dropped for k in window.batches] == [j < i - 1 for j in range(i + 1)]
    assert "img" not in window.batches[0].batch
    assert window.batches[0].batch["im_file"] == ["0.jpg"]
    assert window.batches[0].batch["cls"].tolist() == [[3.0]]
    window.clear()
    window.add(kept(9, megabytes=3))
    assert not window.batches[0].dropped


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002


def test_random_states_survive_a_trip_through_tensors() -> None:
    random.gauss(0, 1)  # keeps its second number back
    np.random.normal()  # noqa: NPY002
    saved = RandomState.of(RandomState.now(CPU).tensors())
    expected = (*draws(), random.gauss(0, 1), np.random.normal())  # noqa: NPY002
    saved.restore(CPU)
    assert (*draws(), random.gauss(0, 1), np.random.normal()) == expected  # noqa: NPY002


def test_a_fork_gives_every_generator_back() -> None:
    state = RandomState.now(CPU)
    expected = draws()
    state.restore(CPU)
    with forked_random_state(CPU):
        draws()
    assert draws() == expected
    state.restore(CPU)
    with pytest.raises(ZeroDivisionError), forked_random_state(CPU):
        draws()[0] / 0
    assert draws() == expected
