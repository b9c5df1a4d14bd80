"""More repeats in the model of Ultralytics, and not twice when its checkpoint is rebuilt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from yolo_stability.interventions.depth import MARK, deepen


def layers(config: dict[str, object]) -> int:
    """Return how many modules a model of this configuration has."""
    return len(list(DetectionModel(config, verbose=False).modules()))


@pytest.mark.parametrize("model", ["yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml", "yolov3.yaml"])
def test_the_built_model_is_deeper(model: str) -> None:
    config = yaml_model_load(model)
    stock = layers(dict(config))
    deeper, before, after = deepen(config, 3.0)
    assert after > before
    assert layers(deeper) > stock
    assert config == yaml_model_load(model)  # the original is untouched


def test_twice_as_deep_is_ultralytics_own_depth() -> None:
    """YOLOv8n has depth 0.33; its YAML with 0.66 defines the expected model."""
    config = yaml_model_load("yolov8n.yaml")
    by_hand = yaml_model_load("yolov8n.yaml")
    by_hand["scales"]["n"][0] *= 2
    names = [n for n, _ in DetectionModel(deepen(config, 2.0)[0], verbose=False).named_parameters()]
    assert names == [n for n, _ in DetectionModel(by_hand, verbose=False).named_parameters()]


@given(st.floats(0.1, 4.0), st.floats(0.1, 4.0))
def test_the_factor_is_relative_to_stock_however_often_it_is_given(
    first: float, second: float
) -> None:
    config = yaml_model_load("yolo26n.yaml")
    once, twice = deepen(config, second)[0], deepen(deepen(config, first)[0], second)[0]
    assert twice[MARK] == second
    assert twice["scales"]["n"][0] == pytest.approx(once["scales"]["n"][0])


def test_the_repeats_are_those_of_the_built_model() -> None:
    """Counted from Ultralytics' own log line of each layer: `n` after scaling."""
    config = yaml_model_load("yolov3.yaml")  # repeats are plain modules there
    deeper, before, after = deepen(config, 2.0)
    for conf, repeats in ((config, before), (deeper, after)):
        model = DetectionModel(dict(conf), verbose=False).model
        assert sum(len(m) if type(m).__name__ == "Sequential" else 1 for m in model) == repeats
