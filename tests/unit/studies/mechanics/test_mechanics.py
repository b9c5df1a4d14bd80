"""The reference networks against torch's own cells and plain matrix products; the studies against
the textbook."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

import yolo_stability.compat.cfg  # noqa: F401 - Ultralytics' logger must not meet a captured stdout first
from yolo_stability.cli.commands import mechanics as command
from yolo_stability.core.errors import ConfigError
from yolo_stability.studies.mechanics.networks import Recurrent, Stacks, adding_problem
from yolo_stability.studies.mechanics.result import Curve, MechanicsResult, fitted_rate
from yolo_stability.studies.mechanics.run import (
    CLIP_LENGTH,
    CLIP_NORM,
    CLIP_RATE,
    CLIP_STEPS,
    STUDIES,
    mechanics,
)
from yolo_stability.trace import load_trace

FIRST, WEIGHT = "first state", "recurrent weight"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> MechanicsResult:
    """All studies, once."""
    return mechanics(out=tmp_path_factory.mktemp("mechanics"), seed=0)


def rate(result: MechanicsResult, study: str, label: str, quantity: str) -> float:
    found = next(s for s in result.studies if s.name == study).curve(label, quantity).rate
    assert found is not None
    return found


# --- the networks ---------------------------------------------------------------------------------


def sequences(length: int, seed: int = 0) -> Tensor:
    return adding_problem(5, length, torch.Generator().manual_seed(seed))[0]


@settings(max_examples=20, deadline=None)
@given(length=st.integers(2, 60), seed=st.integers(0, 50), scale=st.floats(0.2, 2.0))
def test_linear_gradient_is_the_matrix_power(length: int, seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    model = Recurrent("linear", 6)
    with torch.no_grad():
        model.recurrent.weight.normal_(
            std=scale / math.sqrt(6)
        )  # not normal: its powers are no powers of one number
    model(sequences(length)).mean().backward()
    weight, head = (m.weight.detach().numpy() for m in (model.recurrent, model.head))
    expected = np.linalg.norm(np.linalg.matrix_power(weight.T, length) @ head[0])
    assert model.start.value.grad is not None
    assert float(model.start.value.grad.norm()) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.3])
def test_the_recurrent_matrix_has_the_radius_asked_for(radius: float) -> None:
    torch.manual_seed(0)
    weight = Recurrent("tanh", 16, radius=radius).recurrent.weight.detach().numpy()
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(weight)), radius, rtol=1e-9)


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_cells_compute_what_those_of_torch_do(cell: str) -> None:
    torch.manual_seed(1)
    model = Recurrent(cell, 7, remember=0.5)
    with torch.no_grad():
        model.start.value.normal_()
    reference: Any = {"tanh": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell](
        2, 7
    ).double()
    reference.weight_ih.data.copy_(model.inputs.weight)
    reference.weight_hh.data.copy_(model.recurrent.weight)
    reference.bias_ih.data.copy_(model.inputs.bias)
    reference.bias_hh.data.zero_()
    x = sequences(9)
    start = model.start.value.detach().clone().requires_grad_()
    state: Any = tuple(part.expand(5, -1) for part in start)
    state = state if cell == "lstm" else state[0]
    for step in x:
        state = reference(step, state)
    hidden = state[0] if cell == "lstm" else state
    expected = hidden @ model.head.weight[0].detach() + model.head.bias.detach()
    answer = model(x)
    np.testing.assert_allclose(
        answer.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12
    )
    answer.square().sum().backward()
    expected.square().sum().backward()
    pairs = {
        model.start.value: start,
        model.recurrent.weight: reference.weight_hh,
        model.inputs.bias: reference.bias_ih,
    }
    for got, want in pairs.items():
        np.testing.assert_allclose(got.grad.numpy(), want.grad.numpy(), rtol=1e-7, atol=1e-12)  # type: ignore[union-attr]


def test_chrono_biases_remember_between_one_step_and_the_horizon() -> None:
    torch.manual_seed(0)
    _, forget, *_ = Recurrent("lstm", 400, remember=None, horizon=100).inputs.bias.detach().chunk(4)
    steps = forget.exp().numpy()
    assert steps.min() >= 1
    assert steps.max() <= 99
    assert steps.mean() == pytest.approx(50, rel=0.1)


@given(length=st.integers(2, 40), seed=st.integers(0, 20))
def test_the_target_is_the_sum_of_one_value_of_each_half(length: int, seed: int) -> None:
    inputs, target = adding_problem(8, length, torch.Generator().manual_seed(seed))
    values, marks = inputs.numpy()[..., 0], inputs.numpy()[..., 1]
    half = length // 2
    assert (marks[:half].sum(0) == 1).all()
    assert (marks[half:].sum(0) == 1).all()
    np.testing.assert_allclose(
        target.numpy(), [v[m == 1].sum() for v, m in zip(values.T, marks.T, strict=True)]
    )


@pytest.mark.parametrize("residual", [False, True])
def test_the_first_layers_gradient_is_the_product_of_the_jacobians(residual: bool) -> None:
    torch.manual_seed(2)
    model = Stacks([4, 6], act="tanh", init="xavier", residual=residual, width=5)
    x = torch.randn(1, 5, dtype=torch.float64)
    model(x, 6)[0, 3].backward()
    weights = [
        m.weight.detach().numpy()
        for n, m in model.named_modules()
        if "_6" in n and isinstance(m, nn.Linear)
    ]
    first, *rest, head = weights
    h = first @ x[0].numpy() if residual else np.tanh(first @ x[0].numpy())
    product = np.eye(5) if residual else np.diag(1 - h**2)
    for weight in rest:
        if residual:
            product = (np.eye(5) + weight @ np.diag(1 - np.tanh(h) ** 2)) @ product
            h = h + weight @ np.tanh(h)
        else:
            h = np.tanh(weight @ h)
            product = np.diag(1 - h**2) @ weight @ product
    expected = np.outer(head[3] @ product, x[0].numpy())
    assert len(weights) == 7
    gradient = model.get_parameter("first_6.weight").grad
    assert gradient is not None
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-9, atol=1e-12)
    assert model.get_parameter("first_4.weight").grad is None


@pytest.mark.parametrize(("init", "variance"), [("xavier", 1 / 200), ("he", 2 / 200)])
def test_initial_weights_have_the_variance_of_their_paper(init: str, variance: float) -> None:
    torch.manual_seed(0)
    model = Stacks([2], act="relu", init=init, width=200)
    assert float(model.get_parameter("first_2.weight").detach().var()) == pytest.approx(
        variance, rel=0.02
    )


@given(factor=st.floats(0.5, 2.0), start=st.floats(1e-3, 1e3))
def test_the_fit_finds_a_geometric_series(factor: float, start: float) -> None:
    x = [2, 5, 9, 20]
    y: list[float | None] = [start * factor**k for k in x]
    assert fitted_rate([*x, 30, 40], [*y, 0.0, None]) == pytest.approx(factor, rel=1e-9)


def test_a_fit_needs_two_points() -> None:
    assert fitted_rate([1, 2, 3], [0.0, 4.0, None]) is None
    words = Curve.fitted("x", "q", [1, 2], [0.0, math.nan]).in_words("step")
    assert words == "x: too few nonzero gradients to fit a rate"


# --- the studies ----------------------------------------------------------------------------------


def test_a_linear_network_changes_by_its_spectral_radius_per_step(result: MechanicsResult) -> None:
    assert rate(result, "rnn", "linear 0.9", FIRST) == pytest.approx(0.9, rel=1e-5)
    assert rate(result, "rnn", "linear 1.1", FIRST) == pytest.approx(1.1, rel=1e-5)


def test_plain_networks_decay_or_grow_and_gates_that_remember_flatten(
    result: MechanicsResult,
) -> None:
    assert rate(result, "rnn", "tanh 0.9", FIRST) < 0.9  # tanh' <= 1 can only shrink it further
    assert rate(result, "rnn", "tanh 1.0", FIRST) < 1.0
    assert rate(result, "rnn", "tanh 2.0", FIRST) > 1.1
    assert rate(result, "rnn", "tanh 2.0", WEIGHT) > 1.1
    for label in ("LSTM, chrono", "GRU, chrono"):
        curve = result.studies[0].curve(label, FIRST)
        assert curve.y[-1] is not None
        assert curve.y[0] is not None
        assert 0.1 < curve.y[-1] / curve.y[0] < 10
    assert (
        rate(result, "rnn", "GRU, bias 0", FIRST) < 0.85
    )  # gates alone are not enough: they must start open


def test_depth_vanishes_explodes_or_stays(result: MechanicsResult) -> None:
    assert rate(result, "depth", "sigmoid, Xavier", "first layer") < 0.25 + 0.02  # sigmoid' <= 1/4
    assert rate(result, "depth", "ReLU, Xavier", "first layer") == pytest.approx(
        math.sqrt(0.5), rel=0.06
    )
    assert rate(result, "depth", "residual ReLU, He", "first layer") == pytest.approx(
        math.sqrt(2), rel=0.06
    )
    # Yang et al. (2019): batch normalization makes the gradient of a plain ReLU stack grow by about
    # 1.21 a layer
    assert rate(result, "depth", "ReLU, He, BatchNorm", "first layer") == pytest.approx(
        1.21, rel=0.04
    )
    for label in (
        "residual ReLU, He, LayerNorm",
        "residual sigmoid, Xavier",
        "ReLU, He, LayerNorm",
        "tanh, Xavier",
    ):
        assert rate(result, "depth", label, "first layer") == pytest.approx(1.0, abs=0.03)


def test_a_norm_below_float32_is_said_and_not_fitted(result: MechanicsResult) -> None:
    curve = result.studies[1].curve("sigmoid, Xavier", "first layer")
    assert curve.y[-1] == 0
    assert any("sigmoid, Xavier" in text and "below 1e-38" in text for text in result.verdicts)


def clip_loop(max_norm: float | None) -> tuple[list[float], list[float]]:
    """Run the loop of the clip study without the recorder; return losses and sizes of the
    updates."""
    torch.manual_seed(0)
    model = Recurrent("tanh", 32, radius=1.5).float()
    model.start.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=CLIP_RATE)
    generator, losses, sizes = torch.Generator().manual_seed(0), [], []
    for _ in range(CLIP_STEPS):
        inputs, target = adding_problem(32, CLIP_LENGTH, generator)
        optimizer.zero_grad()
        loss = (model(inputs.float()) - target.float()).square().mean()
        loss.backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        before = torch.cat([p.detach().flatten().double() for p in model.parameters()])
        optimizer.step()
        after = torch.cat([p.detach().flatten().double() for p in model.parameters()])
        losses.append(loss.item())
        sizes.append((after - before).norm().item())
    return losses, sizes


def test_clipping_bounds_the_update_and_saves_the_training(result: MechanicsResult) -> None:
    study = result.studies[2]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        losses, sizes = clip_loop(CLIP_NORM)
        wild, _ = clip_loop(None)
    finally:
        torch.set_num_threads(threads)
    assert study.curve("clip 1", "loss").y == tuple(losses)
    np.testing.assert_allclose(
        np.array(study.curve("clip 1", "update size").y, float), sizes, rtol=1e-3
    )
    assert max(sizes) <= CLIP_RATE * CLIP_NORM * (1 + 1e-4)
    bad = next(i for i, loss in enumerate(wild) if not math.isfinite(loss))
    assert study.curve("no clip", "loss").y[: bad + 1] == (*wild[:bad], None)
    assert f"not finite from step {bad}" in study.verdicts[0]
    assert np.median(losses[-20:]) < 0.3 < np.median(losses[:5])


def test_another_seed_shows_the_same(tmp_path: Path) -> None:
    other = mechanics("depth", out=tmp_path, seed=7)
    assert rate(other, "depth", "sigmoid, Xavier", "first layer") < 0.27
    assert rate(other, "depth", "residual ReLU, He", "first layer") > 1.3
    assert [s.name for s in other.studies] == ["depth"]


def test_the_same_seed_gives_the_same_figures_and_leaves_the_callers_state(
    tmp_path: Path, result: MechanicsResult
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    (tmp_path / "mechanics.json").write_text("of an earlier call")
    old = (tmp_path / "mechanics.json").open()
    try:
        state = torch.get_rng_state()
        again = mechanics(("clip",), out=tmp_path, seed=0)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again.studies[0].curves == result.studies[2].curves
    with old:  # whoever reads, or a kill, meets the old file or the new one, and never half of it
        assert old.read() == "of an earlier call"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "clip.png",
        "mechanics.json",
        "runs",
    ]


def test_everything_is_on_disk(result: MechanicsResult) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    saved = json.loads(
        (result.out / "mechanics.json").read_text(encoding="utf-8"), parse_constant=refuse
    )
    assert [s["name"] for s in saved["studies"]] == list(STUDIES)
    assert saved["studies"][0]["curves"][0]["rate"] == pytest.approx(0.9, rel=1e-5)
    for study in result.studies:
        image = cv2.imread(str(study.picture))
        assert image is not None
        assert image.shape[1] == 1260
    trace = load_trace(result.out / "runs" / "rnn" / "lstm-chrono")
    assert trace.header.seed == 0
    assert trace.steps["loss/length"].to_list() == [2, 5, 10, 20, 35, 50, 75, 100, 150, 200]


def test_tables_fit_into_eighty_columns(result: MechanicsResult) -> None:
    for study in result.studies:
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(study.table())
        lines = console.export_text().splitlines()
        assert max(len(line.rstrip()) for line in lines) <= 80
        for curve in study.curves:
            assert any(line.startswith(f" {curve.label} ") for line in lines)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"studies": "rnnn"}, "Unknown study 'rnnn'. Did you mean 'rnn'"),
        ({"seed": -1}, "Invalid value seed=-1"),
        ({"seed": "x"}, "Invalid value seed='x'"),
        ({"out": __file__}, "is a file"),
    ],
)
def test_impossible_arguments_are_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        mechanics(**{"out": tmp_path, **options})


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_table_sentences_and_place(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command.VERB.run(["clip", f"out={tmp_path}", "seed=1"]) == 0
    out = capfd.readouterr().out
    assert "update size" in out
    assert "- no clip: the largest finite update was" in " ".join(out.split())
    assert f"picture: {tmp_path / 'clip.png'}" in out


def test_the_command_prints_json_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command.VERB.run(["clip", "--json", f"out={tmp_path}"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert (data["seed"], [s["name"] for s in data["studies"]]) == (0, ["clip"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["rnm"], "Unknown study 'rnm'. Did you mean 'rnn'"),
        (["sed=1"], "Unknown key 'sed'. Did you mean 'seed'"),
        (["seed=abc"], "Invalid value seed='abc'"),
    ],
)
def test_the_command_refuses_mistakes(line: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        command.VERB.run(line)


def test_the_command_knows_every_study() -> None:
    assert command.STUDIES == STUDIES
