"""The command line: verbs, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import yolo_stability.compat.cfg  # noqa: F401 - Ultralytics' logger must not meet a captured stdout first
from yolo_stability.cli import main as cli
from yolo_stability.cli.commands import ELSEWHERE, VERBS
from yolo_stability.cli.commands.data import EMBEDDED
from yolo_stability.cli.main import main
from yolo_stability.config import OWN_KEYS, StabilitySettings
from yolo_stability.core.errors import DataError
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.types import VerdictWord
from yolo_stability.diagnosis.bundle import Bundle
from yolo_stability.diagnosis.targets import Examination
from yolo_stability.trainer.messages import RunMessages

CODES = {0, 1, 2, 3, 4, 130}
LINE = ["train", "model=yolo26n.yaml", "data=shapes", "epochs=1"]


class Api:
    """Stands in for `yolo_stability.api`: keeps the calls, prints, and returns or raises what the
    test wants."""

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, dict[str, Any]]] = []
        self.stopped: str | None = None
        self.error: BaseException | None = None

    def train(
        self,
        task: str | None,
        *,
        model: str,
        data: str | None,
        settings: StabilitySettings,
        overrides: dict[str, Any],
        messages: RunMessages,
    ) -> Any:
        own = settings.model_dump()
        self.calls.append((task, {"model": model, "data": data, **own, **overrides}))
        print("progress of Ultralytics")
        if data == "figures":
            messages.note("data: figures: 128 images, drawn")
            messages.warning("optimizer=auto ignores lr0=0.1")
        if self.error is not None:
            raise self.error
        steps = pl.DataFrame({"step": [0, 1, 2], "skipped": [None, "guard", "scaler"]})
        return SimpleNamespace(
            save_dir=Path("runs/train"),
            trace=SimpleNamespace(steps=steps),
            metrics={"map": 0.5, "bad": float("nan")},
            stopped=self.stopped,
        )


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    """Replace the API by a fake."""
    fake = Api()
    module = ModuleType("yolo_stability.api")
    module.train_checked = fake.train  # type: ignore[attr-defined]
    module.probe_checked = lambda request: ()  # type: ignore[attr-defined]
    module.bundle = lambda run, out: Bundle(  # type: ignore[attr-defined]
        path=Path(out or "bundle.zip"), size=1, files={}, steps=None, replaced=0
    )
    module.draw_probes = lambda results, folder: folder / "probe.png"  # type: ignore[attr-defined]
    monkeypatch.setattr("yolo_stability.cli.show.show_probes", lambda results, picture: None)
    ended = SimpleNamespace(
        lines=list, to_json=dict, lost=(), open=(), identical=True, checks=(), environment=()
    )
    module.benchmark = module.compare = module.verify = module.frontier = lambda *_, **__: ended  # type: ignore[attr-defined]
    module.examine = _examined  # type: ignore[attr-defined]
    drawn = SimpleNamespace(studies=(), out=Path("runs/mechanics"), to_json=dict)
    module.mechanics = lambda names, out, seed: drawn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yolo_stability.api", module)
    return fake


def _examined(path: str, *, log: str | None = None) -> Examination:
    """A diagnosis whose verdict the path names; an incident that came again unless its path says
    otherwise."""
    words: tuple[VerdictWord, ...] = ("failed", "unstable", "inconclusive")
    verdict = next((word for word in words if word in path), "stable")
    reproduced = {"incidents/step": True, "incidents/lost": False}.get(path[:14])
    return Examination(
        diagnosis=Diagnosis(run_id="", verdict=verdict, why=f"seen in {path}"),
        reproduced=reproduced,
    )


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Replace the import of datasets by a fake and give the list of its calls."""
    calls: list[tuple[str, str]] = []

    def resolve_data(data: str, task: str) -> Any:
        calls.append((data, task))
        print("noise")
        if "nowhere" in data:
            raise DataError(f"No dataset at {data}.")
        return SimpleNamespace(
            data=f"cache/{Path(data).name}.yaml", notes=("2 boxes dropped: no area",)
        )

    def check_data(data: str, task: str | None) -> Any:
        raise DataError(f"No dataset at {data}.")

    module = ModuleType("yolo_stability.data.resolve")
    module.resolve_data = resolve_data  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yolo_stability.data.resolve", module)
    checking = ModuleType("yolo_stability.data.check.check")
    checking.check_data = check_data  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yolo_stability.data.check.check", checking)
    return calls


# --- train ----------------------------------------------------------------------------------------


def test_train_hands_everything_to_the_api(api: Api) -> None:
    assert main(["detect", *LINE, "guard=stop", "lr0=1e-3", "optimizer=SGD"]) == 0
    own = {name: key.default for name, key in OWN_KEYS.items()} | {"guard": "stop"}
    theirs = {"epochs": 1, "lr0": 0.001, "optimizer": "SGD"}
    assert api.calls == [("detect", {"model": "yolo26n.yaml", "data": "shapes", **own, **theirs})]


def test_json_leaves_stdout_to_json(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, "--json", "lr0=0.1"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "save_dir": "runs/train",
        "stopped": None,
        "steps": 3,
        "guard_skips": 1,
        "metrics": {"map": 0.5, "bad": None},
    }
    assert "progress of Ultralytics" in err


def test_json_holds_for_libraries_and_children_too(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(
        "import logging, os, subprocess, sys\n"
        "from yolo_stability.cli.output import stdout_to_stderr\n"
        "handler = logging.StreamHandler(sys.stdout)\n"
        "logging.getLogger('ultralytics').addHandler(handler)\n"
        "print('before')\n"
        "with stdout_to_stderr():\n"
        "    print('python'); logging.getLogger('ultralytics').warning('logger')\n"
        "    os.write(1, b'descriptor\\n'); subprocess.run(['echo', 'child'], check=True)\n"
        "print('after'); logging.getLogger('ultralytics').warning('logger again')\n"
    )
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["before", "after", "logger again", ""]
    assert set(done.stderr.split()) == {"python", "logger", "descriptor", "child"}


def test_without_json_nothing_is_added(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(LINE) == 0
    assert capsys.readouterr() == ("progress of Ultralytics\n", "")


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        ((), "progress of Ultralytics\ndata: figures: 128 images, drawn\n", ""),
        (("--json",), "{", "progress of Ultralytics\ndata: figures: 128 images, drawn\n"),
    ],
)
def test_notes_on_the_data_go_to_stdout_and_warnings_to_stderr(
    api: Api, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], out: str, err: str
) -> None:
    line = ["train", "model=yolo26n-pose.yaml", "data=figures", "optimizer=auto", *words]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(out)
    assert "data:" not in printed.out.removeprefix(out)
    assert printed.err == f"{err}WARNING: optimizer=auto ignores lr0=0.1\n"


def test_a_run_that_the_guard_stopped_is_3(api: Api) -> None:
    api.stopped = "10 skips in a row"
    assert main(LINE) == 3


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("No dataset at x."), 2, "yolo-stability: No dataset at x.\n"),
        (RuntimeError("Dataset 'x' error: gone"), 2, "yolo-stability: Dataset 'x' error: gone.\n"),
        (
            ZeroDivisionError("by zero"),
            1,
            "Unexpected ZeroDivisionError: by zero. Please report this",
        ),
        (KeyboardInterrupt(), 130, "yolo-stability: Interrupted.\n"),
        (SystemExit(1), 1, ""),
        (SystemExit(), 0, ""),
    ],
)
def test_what_a_run_raises_becomes_a_code(
    api: Api, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    api.error = error
    assert main(LINE) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_the_traceback_is_there_when_asked_for(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YOLO_STABILITY_DEBUG", "1")
    api.error = ZeroDivisionError("by zero")
    assert main(LINE) == 1
    assert "Traceback" in capsys.readouterr().err


# --- data and list --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "call"),
    [
        (["embedded", "shapes"], ("shapes", "detect")),
        (["embedded", "figures"], ("figures", "pose")),
        (["embedded", "figures", "task=detect"], ("figures", "detect")),
        (["coco", "my/coco"], ("my/coco", "detect")),
        (["coco", "my/coco", "task", "=", "pose"], ("my/coco", "pose")),
        (["pose", "coco", "shapes"], None),
        (["coco", "pose", "shapes"], ("./shapes", "pose")),
        (["coco", "pose", "shapes", "task=pose"], ("./shapes", "pose")),
    ],
)
def test_data_resolves_and_reports(
    resolve: list[tuple[str, str]],
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    call: tuple[str, str] | None,
) -> None:
    assert main(["data", *args]) == (0 if call else 2)
    assert resolve == ([call] if call else [])
    if call:
        out, err = capsys.readouterr()
        assert out == f"cache/{Path(call[0]).name}.yaml\n2 boxes dropped: no area\n"
        assert err == "noise\n"


def test_data_as_json(resolve: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "embedded", "shapes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "data": "cache/shapes.yaml",
        "notes": ["2 boxes dropped: no area"],
    }


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Write 'data embedded NAME', 'data coco FOLDER' or 'data check DATA'."),
        (["imagenet"], "Unknown word 'imagenet'."),
        (["embedded"], "takes one of shapes, figures"),
        (["embedded", "shapes", "pose", "task=detect"], "at most one task"),
        (["embedded", "shape"], "Did you mean 'shapes'?"),
        (["coco", "a", "b"], "'data coco' takes one folder"),
        (["coco", "a", "task=segment"], "expected detect or pose"),
        (["coco", "a", "tsak=pose"], "Did you mean 'task'?"),
        (["coco", "nowhere"], "No dataset at nowhere."),
    ],
)
def test_data_explains_mistakes(
    resolve: list[tuple[str, str]], capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    assert main(["data", *args]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


def test_the_embedded_sets_are_those_of_the_data_folder() -> None:
    embedded = pytest.importorskip("yolo_stability.data.synthetic.datasets")
    assert set(EMBEDDED) == set(embedded.EMBEDDED)


def test_list_names_data_and_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "shapes" in out
    assert "control" in out
    assert main(["list", "scenarios"]) == 0
    assert "shapes" not in capsys.readouterr().out.split("scenarios:")[0]


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "data", "--json"]) == 0
    names = [{"name": name, "summary": f"embedded, for {task}"} for name, task in EMBEDDED.items()]
    assert json.loads(capsys.readouterr().out) == {"data": names}


@pytest.mark.parametrize("args", [["--json=True"], ["json=True"], ["--json", "--json"]])
def test_list_takes_every_spelling_of_json(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "data", *args]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"data"}


def test_written_schemas_are_told_beside_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "schema", f"out={tmp_path}", "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["schema"]) == err.count("written: ") == 2


@pytest.mark.parametrize("args", [["list", "scenario"], ["list", "a=b"]])
def test_list_explains_mistakes(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    assert main(args) == 2
    assert "scenarios" in capsys.readouterr().err


# --- verbs and help -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["trian", "data=x"], "Unknown verb 'trian'. Did you mean 'train'?"),
        (["xyzzy"], "Unknown verb 'xyzzy'. 'yolo-stability help'"),
        (["detect", "model=x"], "write 'yolo-stability train detect model=... data=...'"),
        (["model=x"], "The verb is missing: write 'yolo-stability train model=... data=...'"),
        (["help", "trian"], "Did you mean 'train'?"),
        *(([verb], text) for verb, text in ELSEWHERE.items()),
        (["detect", "val"], "'yolo val ...'"),
    ],
)
def test_a_wrong_verb_is_explained(
    capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "args",
    [[], ["help"], ["--help"], ["-h"], ["help", *["train"]], ["train", "--help"], ["data", "-h"]],
)
def test_help_fits_a_screen_of_80_columns(
    capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert len(lines) <= 40


def test_help_names_every_verb_and_own_key_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    main(["help"])
    page = capsys.readouterr().out
    section = page.split("Verbs\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in section.splitlines()] == [*VERBS, "help", "version"]
    assert all(f" {key}=" in page for key in OWN_KEYS)
    assert page.count("yolo-stability train") >= 3


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_the_examples_of_help_are_valid(
    api: Api,
    resolve: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    verb: Any,
) -> None:
    monkeypatch.chdir(tmp_path)  # one of them writes files
    for line in verb.examples:
        words = line.split()
        assert words[:2] == ["yolo-stability", verb.name]
        assert main(words[1:]) == 0, line


def test_version_names_what_a_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("version", "--version", "-v"):
        assert main([word]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
            "yolo-stability",
            "ultralytics",
            "torch",
        ]


def test_the_module_runs_and_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m yolo_stability help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 130}
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


# --- diagnose -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("runs/fine", 0),
        ("runs/unstable", 3),
        ("runs/failed", 3),
        ("runs/inconclusive", 4),
        ("incidents/step-000003", 0),
        ("incidents/step-000004-failed", 0),
        ("incidents/lost", 3),
        ("incidents/lost-inconclusive", 3),
        ("incidents/cut-inconclusive", 4),
    ],
)
def test_diagnose_tells_by_its_exit_code(
    api: Api, capsys: pytest.CaptureFixture[str], path: str, code: int
) -> None:
    assert main(["diagnose", path]) == code
    assert "seen in" in capsys.readouterr().out
    assert main(["diagnose", path, "--json"]) == code
    content = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert content["why"] == f"seen in {path}"
    assert ("reproduced" in content) == ("step" in path or "lost" in path)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "takes one path"),
        (["a", "b"], "takes one path"),
        (["a", "jsn=1"], "Did you mean 'json'"),
    ],
)
def test_diagnose_refuses_in_one_sentence(
    api: Api, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert main(["diagnose", *words]) == 2
    assert text in capsys.readouterr().err


def test_diagnose_of_nothing_names_what_it_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["diagnose", str(tmp_path / "nowhere")]) == 2
    assert "does not exist; give a run folder" in capsys.readouterr().err


# --- whatever the user types
# ------------------------------------------------------------------------------------------

WORD = st.one_of(
    st.sampled_from(
        [
            *VERBS,
            *ELSEWHERE,
            "help",
            "version",
            "detect",
            "pose",
            "json",
            "--json",
            "plots",
            "-h",
            "=",
            "[",
        ]
    ),
    st.sampled_from(
        ["embedded", "coco", "shapes", "figures", "data=shapes", "model=yolo26n.yaml", "model=x.pt"]
    ),
    st.text(max_size=8),
)
PAIR = st.builds(
    "{}={}".format,
    st.sampled_from(
        [
            "guard",
            "guard_limit",
            "watch_every",
            "fault",
            "epochs",
            "batch",
            "lr0",
            "imgsz",
            "task",
            "mode",
        ]
    )
    | st.sampled_from(
        [
            "model",
            "data",
            "cfg",
            "resume",
            "optimizer",
            "scale",
            "fraction",
            "freeze",
            "amp",
            "json",
        ]
    )
    | st.text(max_size=5),
    st.sampled_from(
        [
            "0",
            "-1",
            "1e999",
            "nan",
            "None",
            "True",
            "[]",
            "[1,",
            "{}",
            "1j",
            "''",
            "x.yaml",
            "\0",
            "\udc80",
        ]
    )
    | st.floats().map(str)
    | st.text(max_size=6),
)


PREFIXES = (["train", "data=shapes"], ["data", "embedded"], ["data", "coco"], ["data", "check"])


@pytest.mark.parametrize(
    "arg", ["guard=\udc80", "model=\udc80", "task=\udc80", "lr0=\udc80", "batch=\udc80", "\udc80=1"]
)
def test_what_is_no_valid_text_is_escaped(
    api: Api, capsys: pytest.CaptureFixture[str], arg: str
) -> None:
    assert main(["train", "data=shapes", arg]) == 2
    assert "\\udc80" in capsys.readouterr().err


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    args=st.lists(st.one_of(WORD, PAIR), max_size=6),
    verb=st.sampled_from([[], *([name] for name in VERBS), *PREFIXES]),
)
def test_no_line_raises_or_leaves_the_contract(
    api: Api,
    resolve: list[tuple[str, str]],
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    verb: list[str],
) -> None:
    code = main([*verb, *args])
    err = capsys.readouterr().err
    assert code in CODES - {1}, err
    assert "Traceback" not in err


def test_arguments_come_from_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["yolo-stability", "version"])
    assert main() == 0
    assert os.linesep in capsys.readouterr().out


def test_an_error_in_a_verb_never_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> int:
        raise RuntimeError("broken")

    verb: Callable[..., Any] = SimpleNamespace  # any object with `run` is a verb
    monkeypatch.setattr(cli, "VERBS", {"train": verb(run=broken)})
    assert main(["train"]) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("sute=demo", "Unknown key 'sute'. Did you mean 'suite'?"),
        ("demo jobs=x", "Invalid value jobs=x: expected a whole number, 1 or more."),
        ("demo seeds=0", "Invalid value seeds=0"),
        ("demo quick", "takes one suite"),
    ],
)
def test_a_benchmark_that_is_mistyped(
    api: Api, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    assert main(["benchmark", *line.split()]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("lost", "code"), [((), 0), (("no-norm seed 1",), 3)])
def test_a_benchmark_with_lost_runs_ends_with_3(
    api: Api, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...], code: int
) -> None:
    result = SimpleNamespace(lines=list, to_json=dict, lost=lost)
    monkeypatch.setattr(sys.modules["yolo_stability.api"], "benchmark", lambda **_: result)
    assert main(["benchmark", "suite=demo"]) == code
