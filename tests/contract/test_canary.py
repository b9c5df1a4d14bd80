"""Canary: reports changes to the internals of Ultralytics that this package relies on.

Each internal is compared with the forms it has had in the versions this package was tried with
(`make test-versions`), by a hash of its source without docstrings, comments and layout. A failure
is no bug yet: read the new form, check the place that leans on it, run `make test-versions`, then
add its hash here.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from ultralytics import __version__
from ultralytics.engine.model import Model
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils import DEFAULT_CFG_DICT
from ultralytics.utils.torch_utils import ModelEMA, strip_optimizer, unwrap_model


@dataclass(frozen=True, kw_only=True)
class Internal:
    """Something of Ultralytics that is not its public interface.

    Attributes:
        function: The function.
        leans: Where this package leans on it, and how.
        known: First version in which each form was seen, by hash.
    """

    function: Callable[..., Any]
    leans: str
    known: dict[str, str]


INTERNALS = [
    Internal(
        function=BaseTrainer.optimizer_step,
        leans="trainer/mixin.py: StabilityMixin.optimizer_step repeats its body; compat.STOCK_MAX_NORM is its clip",
        known={"0ef88adae97b": "8.4.60", "586a056ae977": "8.4.120 (no foreach on NPU)"},
    ),
    Internal(
        function=BaseTrainer.save_model,
        leans="guard/checkpoints.py: atomic_checkpoints redirects self.last, self.best and self.wdir",
        known={
            "afb258d65cb4": "8.4.60 (skips when the EMA is not finite, else returns True)",
            "0172eae0393f": "8.4.120 (nan_to_num)",
            "daf47b32534e": "8.4.190",
        },
    ),
    Internal(
        function=BaseTrainer.final_eval,
        leans="guard/checkpoints.py: atomic_checkpoints(copy=True) gives it copies of self.last and self.best",
        known={"2358048a7b09": "8.4.60"},
    ),
    Internal(
        function=strip_optimizer,
        leans="guard/checkpoints.py: it rewrites its file in place, which happens in the staging folder",
        known={"6fce990eefe7": "8.4.60", "ba0a6e657012": "8.4.120", "7f84e2c716d4": "8.4.190"},
    ),
    Internal(
        function=BaseTrainer._handle_nan_recovery,
        leans="trainer/mixin.py overrides it; guard.restore_losses keeps the loss finite at which it looks",
        known={
            "ed9a4b13ba1c": "8.4.60 (loss and fitness must both be bad)",
            "91987ae5d334": "8.4.120",
        },
    ),
    Internal(
        function=BaseTrainer._load_checkpoint_state,
        leans="guard/snapshots.py: after a recovery the EMA may be a new object, and snapshots must still fit",
        known={"b4b972e3cddc": "8.4.60", "49d0126e5f5d": "8.4.120", "2d937ad8fe56": "8.4.190"},
    ),
    Internal(
        function=BaseTrainer._model_train,
        leans="tests/benchmarks: a trainer driven by hand; frozen BatchNorm stays in evaluation mode",
        known={"6d94685af01a": "8.4.60"},
    ),
    Internal(
        function=DetectionTrainer.get_model,
        leans="trainer/mixin.py: StabilityMixin.get_model has it build without weights, edits, then loads them",
        known={"c301b2b17ea3": "8.4.60", "97b6ccfb0377": "8.4.120", "ec3a0bbef12b": "8.4.190"},
    ),
    Internal(
        function=PoseTrainer.get_model,
        leans="trainer/mixin.py: the same for pose",
        known={"51e6e1108729": "8.4.60", "1f2ccae7974f": "8.4.120", "54e68da872d9": "8.4.190"},
    ),
    Internal(
        function=BaseTrainer.build_optimizer,
        leans="trainer/mixin.py: lr_mult multiplies the groups that it returns, before the schedule sees them",
        known={"bcacb0ff265b": "8.4.60", "bafa40a931fd": "8.4.120", "4b8004f13b6a": "8.4.190"},
    ),
    Internal(
        function=BaseTrainer.preprocess_batch,
        leans="trainer/mixin.py: StabilityMixin.preprocess_batch calls it by super()",
        known={"8a8b101f90f5": "8.4.60"},
    ),
    Internal(
        function=BaseTrainer.run_callbacks,
        leans="trainer/base_monitor.py: callbacks are called with the trainer alone, in the order they were added",
        known={"71e341103e71": "8.4.60"},
    ),
    Internal(
        function=BaseTrainer.add_callback,
        leans="trainer/base_monitor.py: attach() adds one callback an event, and looks into trainer.callbacks",
        known={"52170d05b477": "8.4.60"},
    ),
    Internal(
        function=Model._smart_load,
        leans="trainer/launch.py: run_training asks it for the trainer class of a model's task",
        known={"d4f944ab77e0": "8.4.60"},
    ),
    Internal(
        function=ModelEMA.__init__,
        leans="guard/snapshots.py: copies trainer.ema.ema and trainer.ema.updates, and writes them back in place",
        known={
            "6446504aaa3c": "8.4.60",
            "b55d50fcdd59": "8.4.120",
            "ee990135c187": "8.4.190 (_pairs)",
        },
    ),
    Internal(
        function=ModelEMA.update,
        leans="guard/snapshots.py: it keeps the tensors it first saw (_pairs), so they are never replaced",
        known={
            "23da6013d273": "8.4.60",
            "a05df4787018": "8.4.120 (foreach)",
            "637498009dd9": "8.4.190 (_pairs)",
        },
    ),
    Internal(
        function=BaseModel.fuse,
        leans="interventions/norms/_replace.py: a Conv without `bn`, a RepConv without `conv1` must be left alone",
        known={"309e0a8e3eb2": "8.4.60", "12b91a245dbf": "8.4.120", "cfb0c61e6759": "8.4.190"},
    ),
    Internal(
        function=Conv.forward_fuse,
        leans="interventions/norms/_replace.py: it is the forward of a Conv whose BatchNorm is gone",
        known={"6c73fe9b4be3": "8.4.60"},
    ),
    Internal(
        function=unwrap_model,
        leans="compat/ultralytics.py: inner_model",
        known={"b2bdc38ad06a": "8.4.60"},
    ),
]

# What `_do_train` calls, in the order in which it is written.
ORDER = [
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "preprocess_batch()",
    "backward()",
    "_build_train_pipeline()",
    "optimizer_step()",
    "on_train_batch_end",
    "on_train_epoch_end",
    "validate()",
    "_handle_nan_recovery()",
    "save_metrics()",
    "save_model()",
    "on_model_save",
    "on_fit_epoch_end",
    "final_eval()",
    "on_train_end",
]
CALLED = {name.removesuffix("()") for name in ORDER if name.endswith("()")}
GONE_OR_MOVED = {
    "on_batch_end",
    "teardown",
}  # up to 8.4.120; `teardown` moved to `train`, where it also follows errors

# Attributes of a trainer that the package reads or writes.
ATTRIBUTES = [
    "loss",
    "loss_items",
    "tloss",
    "scaler",
    "optimizer",
    "ema",
    "accumulate",
    "stop",
    "epoch",
    "_oom_retries",
]

# Keys of Ultralytics that the package reads from `trainer.args` or gives meaning to.
KEYS = [
    *(
        "task",
        "model",
        "data",
        "imgsz",
        "epochs",
        "batch",
        "seed",
        "deterministic",
        "nbs",
        "warmup_epochs",
        "time",
    ),
    *(
        "plots",
        "verbose",
        "save",
        "resume",
        "optimizer",
        "lr0",
        "momentum",
        "amp",
        "device",
        "project",
        "exist_ok",
    ),
]


def source(function: Callable[..., Any]) -> str:
    """Return the body of a function without docstring, comments and layout."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    if ast.get_docstring(tree):
        tree.body = tree.body[1:]
    return ast.unparse(tree)


def fingerprint(function: Callable[..., Any]) -> str:
    """Return a short hash of the body of a function."""
    return hashlib.sha256(source(function).encode()).hexdigest()[:12]


def complaint(internal: Internal) -> str | None:
    """Return a complaint about an internal, or None if its form is known."""
    found = fingerprint(internal.function)
    if found in internal.known:
        return None
    name = internal.function.__qualname__
    seen = ", ".join(f"{version}: {form}" for form, version in internal.known.items())
    return (
        f"Ultralytics {__version__} changed {name} (now {found}; known since {seen}).\n"
        f"What leans on it: {internal.leans}.\nIts new form:\n{source(internal.function)}"
    )


def calls(function: Callable[..., Any], methods: set[str]) -> list[str]:
    """Return the callbacks that a function runs and the given methods it calls, in order."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found = [
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
    ]
    names = []
    for call in sorted(found, key=lambda n: (n.lineno, n.col_offset)):
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr == "run_callbacks" and isinstance(call.args[0], ast.Constant):
            names.append(str(call.args[0].value))
        elif call.func.attr in methods:
            names.append(f"{call.func.attr}()")
    return names


def strings(function: Callable[..., Any]) -> set[str]:
    """Return the text constants of a function."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.function.__qualname__)
def test_an_internal_has_a_known_form(internal: Internal) -> None:
    problem = complaint(internal)
    assert problem is None, problem


def test_the_training_loop_calls_in_the_known_order() -> None:
    """base_monitor.py and step/loop.py rely on validation and saving in this order."""
    found = calls(BaseTrainer._do_train, CALLED)
    assert [name for name in found if name not in GONE_OR_MOVED] == ORDER, (
        f"Ultralytics {__version__} changed the order of events in BaseTrainer._do_train. What "
        "leans on it: trainer/base_monitor.py (callbacks) and trainer/step/loop.py (order of its "
        "methods)."
    )


def test_the_run_ends_with_teardown() -> None:
    """The trace is closed there, also after an error since it moved to `train`."""
    assert "teardown" in [*calls(BaseTrainer._do_train, set()), *calls(BaseTrainer.train, set())], (
        f"Ultralytics {__version__} no longer runs the callback teardown. What leans on it: "
        "trainer/base_monitor.py."
    )


def test_save_model_writes_through_the_paths_that_are_redirected() -> None:
    """Every file must be written through self.last, self.best or self.wdir, to be atomic."""
    tree = ast.parse(source(BaseTrainer.save_model))
    writers = {"write_bytes", "write_text", "open", "mkdir"}
    written = {
        ast.unparse(n.func.value)
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in writers
    }
    astray = [
        path for path in written if not any(f"self.{p}" in path for p in ("last", "best", "wdir"))
    ]
    assert astray == [], (
        f"Ultralytics {__version__}: BaseTrainer.save_model also writes {astray}. "
        "What leans on it: guard/checkpoints.py."
    )
    assert len(written) >= 4


def test_the_loop_still_uses_the_attributes_of_the_trainer() -> None:
    """trainer_state.py, guard.py and session.py read and write them."""
    text = inspect.getsource(BaseTrainer)
    gone = [name for name in ATTRIBUTES if f"self.{name}" not in text]
    assert gone == [], (
        f"Ultralytics {__version__}: BaseTrainer no longer has {gone}. What leans on it: "
        "trainer/trainer_state.py, guard/guard.py, trainer/session.py and "
        "trainer/step/accumulation.py."
    )


def test_parameter_groups_still_have_the_names_that_the_trace_records() -> None:
    missing = {"param_group", "weight", "bn", "bias", "muon"} - strings(BaseTrainer.build_optimizer)
    assert missing == set(), (
        f"Ultralytics {__version__}: build_optimizer no longer names groups {sorted(missing)}. "
        "What leans on it: compat.group_names, and with it the columns lr/<group> of the trace."
    )


def test_the_settings_that_are_read_still_exist() -> None:
    gone = [key for key in KEYS if key not in DEFAULT_CFG_DICT]
    assert gone == [], (
        f"Ultralytics {__version__} has no key {gone} any more. What leans on it: "
        "trainer/settings/effective.py (header), core/ignored_settings.py and api.StabilityMonitor."
    )


def test_a_change_is_named_with_what_leans_on_it() -> None:
    """The canary can sing: an unknown form is reported by name, version and place."""

    def optimizer_step(self: Any) -> None:
        """Do something new."""
        self.optimizer.step()

    problem = complaint(
        Internal(function=optimizer_step, leans="trainer/mixin.py", known={"0" * 12: "8.4.60"})
    )
    assert problem is not None
    assert "optimizer_step" in problem
    assert __version__ in problem
    assert "trainer/mixin.py" in problem
    assert "self.optimizer.step()" in problem
