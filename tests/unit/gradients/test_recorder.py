"""Recorder on small loops, compared with float64 autograd and with a loop without it."""

from __future__ import annotations

import json
import math
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from yolo_stability.core import lock as claim
from yolo_stability.core.errors import ConfigError, StabilityError, TraceError
from yolo_stability.gradients.record import record
from yolo_stability.gradients.recorder import Recorder
from yolo_stability.trace import TraceWriter, load_trace


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(seed: int = 0, sizes: tuple[int, ...] = (4, 5, 3, 2)) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers)


def batch(step: int = 0, scale: float = 1.0, inputs: int = 4) -> Tensor:
    return scale * torch.randn(6, inputs, generator=torch.Generator().manual_seed(step))


def sgd(model: nn.Module, lr: float = 0.1, **options: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


@contextmanager
def quiet_record(
    model: nn.Module, optimizer: torch.optim.Optimizer, out: Path, **options: Any
) -> Iterator[Recorder]:
    """Record without a picture; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record(model, optimizer, out, plots=False, **options) as r:
            yield r


def notices(folder: Path) -> list[str]:
    events = load_trace(folder).events
    return [json.loads(row["data"])["text"] for row in events.to_dicts() if row["kind"] == "notice"]


def messages_of(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught]


# --- the figures ----------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    max_norm=st.sampled_from([1e-3, 0.5, 1e6]),
)
def test_norms_equal_autograd_in_float64(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    seed: int,
    scale: float,
    max_norm: float,
) -> None:
    out = tmp_path_factory.mktemp("run")
    model = make(seed, tuple(sizes)).double()
    x = batch(seed, scale, sizes[0]).double()
    gradients = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    expected = [
        math.hypot(*(float(g.norm()) for g in pair))
        for pair in zip(*[iter(gradients)] * 2, strict=True)
    ]
    optimizer = sgd(model)
    with quiet_record(model, optimizer, out) as r:
        loss = model(x).square().sum()
        loss.backward()
        r.step(loss=loss)
        clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    row = r.trace.steps.row(0, named=True)
    total = math.hypot(*expected)
    np.testing.assert_allclose(
        r.trace.blocks["grad_norm"].to_numpy(), expected, rtol=1e-6, atol=1e-36
    )
    assert row["grad_norm"] == pytest.approx(total, rel=1e-6, abs=1e-36)
    if total > 1e-30:
        assert row["clip_coef"] == pytest.approx(min(1.0, max_norm / (total + 1e-6)), rel=1e-5)
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-6, abs=1e-36)


def test_update_ratio_of_sgd_is_the_clipped_gradient_times_the_rate(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model, lr=0.25)
    with quiet_record(model, optimizer, tmp_path) as r:
        model(batch()).square().sum().backward()
        r.step()
        clip_grad_norm_(model.parameters(), 0.01)
        pairs = [(layer.weight, layer.bias) for layer in model if isinstance(layer, nn.Linear)]
        moved = [0.25 * math.hypot(*(float(p.grad.norm()) for p in pair)) for pair in pairs]  # type: ignore[union-attr]
        weights = [math.hypot(*(float(p.detach().norm()) for p in pair)) for pair in pairs]
        optimizer.step()
    blocks = r.trace.blocks
    np.testing.assert_allclose(blocks["weight_norm"].to_numpy(), weights, rtol=1e-5)
    np.testing.assert_allclose(
        blocks["update_ratio"].to_numpy(), np.divide(moved, weights), rtol=1e-3
    )


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, r: Recorder | None, steps: int = 12
) -> list[Tensor]:
    for step in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.dropout(model(batch(step)), 0.3).square().mean()
        loss.backward()
        if r:
            r.step(loss=loss, loss_items={"square": loss})
        clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("make_optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_weights_are_those_of_the_loop_alone(
    tmp_path: Path, make_optimizer: Callable[..., torch.optim.Optimizer]
) -> None:
    results = []
    for out in (None, tmp_path):
        model = make()
        optimizer = make_optimizer(model.parameters(), lr=0.1)
        torch.manual_seed(5)
        if out is None:
            results.append(train(model, optimizer, None))
            continue
        with record(model, optimizer, out) as r:
            results.append(train(model, optimizer, r))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert not torch.equal(results[0][0], make()[0].weight)


def test_no_global_random_state_is_used(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model)

    def states() -> tuple[object, ...]:
        numpy_state = np.random.get_state()  # noqa: NPY002
        return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

    before = states()
    with record(model, optimizer, tmp_path) as r:
        model(batch()).sum().backward()
        r.step()
        optimizer.step()
    assert states() == before
    random.random()
    assert states() != before


def test_the_files_are_those_of_a_yolo_run(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model)
    with record(model, optimizer, tmp_path / "a" / "run", config={"seed": 3, "why": "test"}) as r:
        train(model, optimizer, r)
    folder = tmp_path / "a" / "run" / "stability"
    assert {"header.json", "events.jsonl", "trace", "gradient_norms.png"} == {
        f.name for f in folder.iterdir()
    }
    header = r.trace.header
    assert (header.seed, header.requested["why"], header.dataset_digest) == (3, "test", None)
    assert [b.name for b in header.blocks] == ["0 Linear", "2 Linear", "4 Linear"]
    assert header.effective["optimizer"] == "SGD"
    assert header.effective["groups"] == {"pg0": {"lr": 0.1, "weight_decay": 0.0, "tensors": 6}}
    assert header.effective["clip"] == "unknown"
    trace = load_trace(tmp_path / "a" / "run")
    assert trace.steps["step"].to_list() == list(range(12))
    assert trace.steps["loss/square"].to_list() == trace.steps["loss"].to_list()
    assert trace.steps["lr/pg0"].to_list() == [pytest.approx(0.1)] * 12
    assert trace.events["kind"].to_list() == ["end"]
    assert json.loads(trace.events["data"][0]) == {"completed": True, "stopped": None}


def test_the_trace_can_be_read_while_the_loop_runs(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model)
    with quiet_record(model, optimizer, tmp_path) as r:
        train(model, optimizer, r, steps=3)
        assert r.trace.steps.height == 3


# --- loops of every kind --------------------------------------------------------------------------


def test_accumulation_counts_the_backward_passes(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model)
    with quiet_record(model, optimizer, tmp_path) as r:
        for passes in (1, 3, 2):
            for i in range(passes):
                model(batch(i)).sum().backward()
            r.step(epoch=passes)
            optimizer.step()
            optimizer.zero_grad()
    steps = r.trace.steps
    assert steps["accumulate"].to_list() == [1, 3, 2]
    assert steps["iteration"].to_list() == [0, 3, 5]
    assert steps["epoch"].to_list() == [1, 3, 2]
    assert steps["loss"].null_count() == 3


def test_groups_and_frozen_blocks(tmp_path: Path) -> None:
    model = make()
    model[2].requires_grad_(False)
    options = [
        {"params": model[0].parameters(), "lr": 0.5},
        {"params": model[4].parameters(), "momentum": 0.9},
    ]
    optimizer = torch.optim.SGD(options, lr=0.125)
    with quiet_record(model, optimizer, tmp_path) as r:
        model(batch()).square().sum().backward()
        r.step()
        optimizer.step()
    row, blocks = r.trace.steps.row(0, named=True), r.trace.blocks
    assert (row["lr/pg0"], row["lr/pg1"]) == (0.5, 0.125)
    for column in ("grad_norm", "weight_norm", "update_ratio"):
        assert blocks[column].is_null().to_list() == [False, True, False]
    assert r.trace.header.effective["frozen"] == ["2.weight", "2.bias"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_counted_and_still_applied(
    tmp_path: Path, bad: float
) -> None:
    model = make()
    optimizer = sgd(model)
    with quiet_record(model, optimizer, tmp_path) as r:
        model(batch()).square().sum().backward()
        model[2].weight.grad[0, :2] = bad  # type: ignore[index, union-attr]
        r.step()
        optimizer.step()
    row = r.trace.steps.row(0, named=True)
    assert (row["nonfinite"], row["skipped"], row["clip_coef"]) == (2, None, None)
    assert r.trace.blocks["nonfinite"].to_list() == [0, 2, 0]
    assert not torch.isfinite(model[2].weight).all()


def test_a_norm_beyond_float32_is_recorded_when_every_element_is_finite(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model, lr=0.0)
    with quiet_record(model, optimizer, tmp_path) as r:
        for p in model.parameters():
            p.grad = torch.full_like(p, 1e30)
        r.step()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    row = r.trace.steps.row(0, named=True)
    count = sum(p.numel() for p in model.parameters())
    assert row["grad_norm"] == pytest.approx(1e30 * math.sqrt(count), rel=1e-5)
    assert (row["nonfinite"], row["clip_coef"]) == (0, 0.0)  # in float32 that clip leaves nothing


def test_a_closure_is_recorded_with_its_last_evaluation(tmp_path: Path) -> None:
    model = make()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    norms: list[float] = []
    with quiet_record(model, optimizer, tmp_path) as r:

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = model(batch()).square().sum()
            loss.backward()
            norms.append(
                math.hypot(
                    *(float(p.grad.norm()) for p in model.parameters() if p.grad is not None)
                )
            )
            r.step(loss=loss)
            return loss

        for _ in range(2):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
            norms.append(math.nan)
    last = [a for a, b in pairwise(norms) if math.isnan(b)]
    assert len(norms) > 4
    assert r.trace.steps["grad_norm"].to_list() == [pytest.approx(n, rel=1e-5) for n in last]
    assert r.trace.steps["clip_coef"].null_count() == 2


def test_sparse_gradients_are_measured(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(9, 3, sparse=True))
    optimizer = sgd(model)
    with quiet_record(model, optimizer, tmp_path) as r:
        model(torch.tensor([1, 1, 4])).sum().backward()
        r.step()
        optimizer.step()
    assert r.trace.steps["grad_norm"][0] == pytest.approx(math.sqrt(3 * (2**2 + 1)), rel=1e-6)


class Scaled(nn.Module):
    """A loop's scaler at 2**10 on the CPU, and a model whose gradient overflows on demand."""

    def __init__(self, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
        super().__init__()
        self.net = make()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        self.optimizer = optimizer(self.parameters())

    def backward(self, step: int, overflow: bool = False) -> None:
        self.optimizer.zero_grad()
        loss = self.net(batch(step)).square().sum() * (math.inf if overflow else 1.0)
        self.scaler.scale(loss).backward()


def plain_norm(model: Scaled, step: int) -> float:
    grads = torch.autograd.grad(model.net(batch(step)).square().sum(), list(model.net.parameters()))
    return math.hypot(*(float(g.norm()) for g in grads))


OPTIMIZERS = {
    "plain": lambda p: torch.optim.SGD(p, lr=0.01),
    "fused": lambda p: torch.optim.SGD(p, lr=0.01, fused=True),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("unscale", ["before", "after", "never"])
def test_scaled_gradients_are_recorded_unscaled(tmp_path: Path, unscale: str, kind: str) -> None:
    model = Scaled(OPTIMIZERS[kind])
    expected, coefficients = [], []
    with quiet_record(model, model.optimizer, tmp_path, scaler=model.scaler) as r:
        for step in range(4):
            norm = plain_norm(model, step)
            expected.append(norm)
            model.backward(step, overflow=step == 1)
            if unscale == "before":
                model.scaler.unscale_(model.optimizer)
            r.step()
            if unscale == "after":
                model.scaler.unscale_(model.optimizer)
            if unscale != "never":
                clip_grad_norm_(model.parameters(), 0.5 * norm)
            coefficients.append(0.5 if unscale != "never" else 1.0)
            model.scaler.step(model.optimizer)
            model.scaler.update()
    steps = r.trace.steps
    assert steps["skipped"].to_list() == [None, "scaler", None, None]
    assert (steps["accumulate"].to_list(), steps["iteration"].to_list()) == (
        [1, 1, 1, 1],
        [0, 1, 2, 3],
    )
    assert steps["amp_scale"].to_list() == [1024.0, 1024.0, 512.0, 512.0]
    finite = [0, 2, 3]
    squares = (
        r.trace.blocks.group_by("step")
        .agg(pl.col("grad_norm").cast(pl.Float64).pow(2).sum())
        .sort("step")
    )
    np.testing.assert_allclose(
        np.sqrt(squares["grad_norm"].to_numpy())[finite], np.array(expected)[finite], rtol=1e-4
    )
    np.testing.assert_allclose(
        steps["grad_norm"].to_numpy()[finite], np.array(expected)[finite], rtol=1e-4
    )
    np.testing.assert_allclose(
        steps["clip_coef"].to_numpy()[finite], np.array(coefficients)[finite], rtol=1e-4
    )
    assert steps["nonfinite"].to_list()[1] > 0


def test_passes_after_a_skipped_step_count_for_the_next_one(tmp_path: Path) -> None:
    model = Scaled(OPTIMIZERS["plain"])
    with quiet_record(model, model.optimizer, tmp_path, scaler=model.scaler) as r:
        for overflow in (True, False):
            model.backward(0, overflow=overflow)
            model.scaler.scale(model.net(batch(1)).sum()).backward()
            r.step()
            model.scaler.step(model.optimizer)
            model.scaler.update()
    assert r.trace.steps["skipped"].to_list() == ["scaler", None]
    assert r.trace.steps["accumulate"].to_list() == [2, 2]


def test_an_overflow_in_the_last_step_is_recorded(tmp_path: Path) -> None:
    model = Scaled(OPTIMIZERS["plain"])
    with quiet_record(model, model.optimizer, tmp_path, scaler=model.scaler) as r:
        model.backward(0, overflow=True)
        r.step()
        model.scaler.step(model.optimizer)
        model.scaler.update()
    assert r.trace.steps["skipped"].to_list() == ["scaler"]
    assert r.trace.events["kind"].to_list() == ["scaler_skip", "end"]


# --- misuse ---------------------------------------------------------------------------------------


def run_loop(out: Path, order: str, steps: int = 3) -> tuple[Recorder, list[str]]:
    """Run calls given as letters: z zero_grad, b backward, r r.step, c clip, o optimizer.step."""
    model = make()
    optimizer = sgd(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with record(model, optimizer, out, plots=False) as r:
            calls: dict[str, Callable[[], object]] = {
                "z": optimizer.zero_grad,
                "b": lambda: model(batch()).square().sum().backward(),
                "r": r.step,
                "c": lambda: clip_grad_norm_(model.parameters(), 1e-3),
                "o": optimizer.step,
            }
            for call in order * steps:
                calls[call]()
    return r, messages_of(caught)


@pytest.mark.parametrize(
    ("order", "rows", "words"),
    [
        ("zbrco", 3, None),
        ("brcoz", 3, None),
        ("zbco", 3, ["without a preceding r.step()"]),
        ("zbcor", 3, ["without a preceding r.step()", "came after optimizer.step()"]),
        ("bcozr", 3, ["without a preceding r.step()", "came after optimizer.step()"]),
        ("zbrbrco", 3, ["called twice before optimizer.step()"]),
        ("zrbrco", 3, ["no gradient"]),
        ("zbr", 0, ["called twice before optimizer.step()"]),
    ],
)
def test_each_misuse_is_reported_once(
    tmp_path: Path, order: str, rows: int, words: list[str] | None
) -> None:
    r, warned = run_loop(tmp_path, order)
    assert len(warned) == len(words or [])
    assert all(word in text for word, text in zip(words or [], warned, strict=True))
    assert [f"stability: {text}" for text in notices(tmp_path)] == warned
    assert r.trace.steps.height == rows


def test_a_step_without_a_call_is_recorded_as_the_optimizer_saw_it(tmp_path: Path) -> None:
    r, _ = run_loop(tmp_path, "zbco")
    np.testing.assert_allclose(r.trace.steps["grad_norm"].to_numpy(), 1e-3, rtol=1e-2)
    assert r.trace.steps["clip_coef"].null_count() == 3


def test_an_optimizer_step_without_any_gradient_gives_an_empty_row(tmp_path: Path) -> None:
    r, _ = run_loop(tmp_path, "zo", steps=1)
    assert r.trace.steps["grad_norm"].to_list() == [None]
    assert r.trace.blocks["grad_norm"].to_list() == [None] * 3


def test_a_scaler_that_was_not_passed_is_noticed(tmp_path: Path) -> None:
    model = Scaled(OPTIMIZERS["plain"])

    def loop() -> None:
        with record(model, model.optimizer, tmp_path, plots=False) as r:
            model.backward(0)
            r.step()
            model.scaler.step(model.optimizer)

    with pytest.warns(UserWarning, match=r"shrank by exactly 2\^10.*scaler=scaler"):
        loop()


def test_a_skip_of_the_loop_itself_is_recorded(tmp_path: Path) -> None:
    model = make()

    def loop() -> None:
        with record(model, sgd(model), tmp_path, plots=False) as r:
            (model(batch()).sum() * math.nan).backward()
            r.step()

    with pytest.warns(UserWarning, match="not followed by"):
        loop()
    assert load_trace(tmp_path).steps["skipped"].to_list() == ["scaler"]


def test_calls_outside_the_with_block_are_refused(tmp_path: Path) -> None:
    model = make()
    r = record(model, sgd(model), tmp_path, plots=False)
    with pytest.raises(StabilityError, match="before its `with` block"):
        r.step()
    with r:
        pass
    with pytest.raises(StabilityError, match="after its `with` block"):
        r.step()
    with pytest.raises(StabilityError, match="has been used"), r:
        pass


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": 3}, "torch.nn.Module as model, not int"),
        ({"optimizer": "SGD"}, "Optimizer, not str"),
        ({"optimizer": sgd(make())}, "no parameter of this model"),
        ({"model": nn.Tanh()}, "nothing to record"),
        ({"out": __file__}, "is a file"),
        ({"watch_every": -1}, "Invalid value watch_every=-1"),
    ],
)
def test_parts_that_cannot_be_recorded_are_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    model = make()
    with pytest.raises(ConfigError, match=words):
        record(**{"model": model, "optimizer": sgd(model), "out": tmp_path, **change})


def test_tensors_outside_the_model_are_named(tmp_path: Path) -> None:
    model = make()
    optimizer = torch.optim.SGD([*model.parameters(), nn.Parameter(torch.zeros(2))], lr=0.1)
    with (
        pytest.warns(UserWarning, match="1 optimizer tensor"),
        record(model, optimizer, tmp_path, plots=False),
    ):
        pass


# --- the folder, and the end ----------------------------------------------------------------------


def test_an_old_trace_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model)
    with quiet_record(model, optimizer, tmp_path) as first:
        train(model, optimizer, first, steps=7)
    assert first.trace.steps.height == 7
    mine = tmp_path / "stability" / "mine.txt"
    mine.write_text("kept", encoding="utf-8")
    optimizer = sgd(model)
    with quiet_record(model, optimizer, tmp_path) as second:
        train(model, optimizer, second, steps=2)
    assert mine.read_text(encoding="utf-8") == "kept"
    assert second.trace.steps.height == 2
    assert not (tmp_path / "stability" / "running.json").exists()


def test_one_folder_takes_one_recorder_at_a_time(tmp_path: Path) -> None:
    model = make()
    with (
        quiet_record(model, sgd(model), tmp_path),
        pytest.raises(StabilityError, match="already being recorded"),
        record(model, sgd(model), tmp_path),
    ):
        pass


def hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    found = len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)
    return found + sum(len(p._post_accumulate_grad_hooks or {}) for p in model.parameters())


def test_a_warning_that_is_an_error_at_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    model = make()
    optimizer = torch.optim.SGD([*model.parameters(), nn.Parameter(torch.zeros(2))], lr=0.1)
    claim, elsewhere = tmp_path / "stability" / "running.json", {"host": "elsewhere", "pid": 7}
    claim.parent.mkdir()
    claim.write_text(json.dumps(elsewhere), encoding="utf-8")
    for expected in (
        f"'{tmp_path}' was last used by process 7 on elsewhere",
        "1 optimizer tensor",
    ):
        with pytest.raises(UserWarning, match=expected), quiet_record(model, optimizer, tmp_path):
            pass
        assert hooks(model, optimizer) == 0
        assert not claim.exists()
    with (
        pytest.warns(UserWarning, match="1 optimizer tensor"),
        record(model, optimizer, tmp_path, plots=False) as r,
    ):
        train(model, optimizer, r, steps=3)
    assert r.trace.steps.height == 3
    assert hooks(model, optimizer) == 0


def test_an_interrupt_at_the_start_closes_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Path] = []
    close = TraceWriter.close

    def interrupted(self: TraceWriter, header: Any) -> None:
        raise KeyboardInterrupt

    def noted(self: TraceWriter) -> None:
        closed.append(self.folder)
        close(self)

    monkeypatch.setattr(TraceWriter, "write_header", interrupted)
    monkeypatch.setattr(TraceWriter, "close", noted)
    model = make()
    with pytest.raises(KeyboardInterrupt), quiet_record(model, sgd(model), tmp_path):
        pass
    monkeypatch.undo()
    assert closed == [tmp_path.resolve() / "stability"]
    assert not (tmp_path / "stability" / "running.json").exists()
    with quiet_record(model, sgd(model), tmp_path):
        pass


def test_a_folder_of_another_process_is_reported_by_name_and_option(tmp_path: Path) -> None:
    model, folder = make(), tmp_path / "stability"
    other = os.getppid()
    born = (claim._state(other) or ("", ""))[1]
    folder.mkdir()
    (folder / claim.LOCK_FILE).write_text(
        json.dumps({**claim._identity(), "pid": other, "born": born}), encoding="utf-8"
    )
    expected = rf"process {other}, .* in '{tmp_path}': wait until it ends, or choose another out=\."
    with pytest.raises(StabilityError, match=expected), quiet_record(model, sgd(model), tmp_path):
        pass
    (folder / claim.LOCK_FILE).unlink()
    (folder / "header.json").mkdir()
    with (
        pytest.raises(TraceError, match="choose another `out=`"),
        quiet_record(model, sgd(model), tmp_path),
    ):
        pass
    assert not (folder / claim.LOCK_FILE).exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_everything_written_and_no_hook(
    tmp_path: Path, error: type[BaseException]
) -> None:
    model = make()
    optimizer = sgd(model)

    def loop() -> None:
        with record(model, optimizer, tmp_path) as r:
            train(model, optimizer, r, steps=5)
            raise error("stop")

    with pytest.raises(error, match="stop"):
        loop()
    trace = load_trace(tmp_path)
    assert trace.steps.height == 5
    end = json.loads(trace.events["data"][-1])
    assert (end["completed"], end["stopped"], end["error"]) == (False, None, error.__name__)
    if error is KeyboardInterrupt:
        assert (end["state"], end["exception"]) == ("interrupted", None)
    else:
        line = loop.__code__.co_firstlineno + 3
        where = f"{Path(__file__).name}:{line}"
        assert end["state"] == "exception"
        assert end["exception"] == {"type": "RuntimeError", "message": "stop", "where": where}
    assert (tmp_path / "stability" / "gradient_norms.png").stat().st_size > 1000
    assert hooks(model, optimizer) == 0
    train(model, optimizer, None, steps=1)
    assert load_trace(tmp_path).steps.height == 5


def test_a_disk_that_takes_no_more_stops_no_training(tmp_path: Path) -> None:
    model = make()
    optimizer = sgd(model)
    before = model[0].weight.detach().clone()

    def loop() -> None:
        with record(model, optimizer, tmp_path, plots=False) as r:
            (tmp_path / "stability" / "trace").write_text("in the way", encoding="utf-8")
            train(model, optimizer, r, steps=2)

    with pytest.warns(UserWarning, match="Telemetry stopped"):
        loop()
    assert not torch.equal(model[0].weight, before)


def test_a_wrapped_model_keeps_its_blocks(tmp_path: Path) -> None:
    model = nn.DataParallel(make())
    with quiet_record(model, sgd(model), tmp_path) as r:
        pass
    assert [b.name for b in r.trace.header.blocks] == ["0 Linear", "2 Linear", "4 Linear"]
