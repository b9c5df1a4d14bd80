"""Printed commands run from the wheel: the lists of `make test-wheel` are complete."""

from __future__ import annotations

import ast
import shlex
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from printed import REPO, Printed, pages_in_order, printed_on, read_page

sys.path[:0] = [str(REPO / "tests" / "install"), str(REPO / "tests" / "versions")]

import contents  # noqa: E402
from expected import INTERRUPTED, codes, interrupted, stale, to_run, why_left_out  # noqa: E402
from reader import MAKE_DATA, Reader, environment_of, fill_in  # noqa: E402
from try_wheel import main  # noqa: E402

ALL = [line for page in pages_in_order() for line in printed_on(page, read_page(page))]


def test_no_entry_is_stale_and_most_lines_are_run() -> None:
    assert stale(ALL) == []
    without_clone = [line for line in ALL if why_left_out(line) != "belongs to a clone"]
    assert (
        len([line for line in without_clone if not why_left_out(line)])
        > 0.9 * len(without_clone)
        > 0.5 * len(ALL)
    )
    assert all(line.text.split()[0] in {"make", "pytest", "python", "pip", ".", "yolo-stability"}
               for line in ALL if why_left_out(line))  # fmt: skip
    assert stale(ALL[:1]) != []


def test_lines_stay_well_formed_and_keep_what_is_not_shortened() -> None:
    for line in ALL:
        if line.python:
            ast.parse(to_run(line))
            continue
        before, after = (shlex.split(text) for text in (line.text, to_run(line)))
        keys = [
            word.partition("=")[0] for word in after if "=" in word and not word.startswith("from ")
        ]
        assert len(keys) == len(set(keys)), after
        assert [word for word in before if "=" not in word] == [
            word for word in after if "=" not in word
        ]
    ast.parse(MAKE_DATA)


def test_console_blocks_inline_code_and_python_are_read_in_order() -> None:
    text = (
        "`yolo-stability train` is a mere verb, `yolo settings sync=False` is not, `make demo` neither.\n\n"
        "```console\nyolo-stability train a=1 \\\n    b=2  # comment\n\nmake test\n```\n\n```text\nfailed: so\n```\n\n"
        "```console\n$ yolo-stability diagnose runs/x\nstable: yes\n$ yolo version\n```\n\n```python\nx = 1\n```\n"
    )
    found = [(line.text, line.word, line.python) for line in printed_on("p", text)]
    assert found == [
        ("yolo settings sync=False", "", False),
        ("make demo", "", False),
        ("yolo-stability train a=1 b=2", "", False),
        ("make test", "failed", False),
        ("yolo-stability diagnose runs/x", "stable", False),
        ("yolo version", "", False),
        ("x = 1\n", "", True),
    ]


def test_a_key_is_replaced_where_it_stands_and_else_appended() -> None:
    line = Printed("p", "yolo-stability train model=a.yaml data=b epochs=100 device=0")
    assert (
        to_run(line)
        == "yolo-stability train model=a.yaml data=b epochs=1 device=cpu imgsz=32 workers=0 plots=False"
    )
    same = Printed("p", "yolo-stability diagnose runs/detect/train")
    assert (to_run(same), codes(same), codes(Printed("p", "yolo-stability version"))) == (
        same.text,
        {0, 3, 4},
        {0},
    )
    ended = [line for line in ALL if interrupted(line)]
    assert len(ended) == len(INTERRUPTED)
    assert all(codes(line) == {130} for line in ended)


def test_only_what_a_reader_would_have_is_filled_in(tmp_path: Path) -> None:
    his = tmp_path / "his"
    (his / "stability").mkdir(parents=True)
    (his / "stability" / "healthy.pt").touch()
    work = tmp_path / "work"
    (work / "runs/detect/train").mkdir(parents=True)
    assert fill_in(work, Printed("p", "yolo-stability diagnose runs/detect/train"), his) == []
    there = Printed("p", "yolo-stability diagnose runs/detect/train/stability/healthy.pt")
    assert fill_in(work, there, his) == ["runs/detect/train/stability/healthy.pt"]
    assert fill_in(work, there, his) == []
    assert fill_in(
        work, Printed("p", "yolo-stability compare runs/detect/train-2 out=runs/x"), his
    ) == ["runs/detect/train-2"]
    for text, python in (
        ("yolo-stability diagnose runs/detect/hto", False),
        ('load_trace("runs/detect/hto")', True),
    ):
        with pytest.raises(RuntimeError, match="runs/detect/hto: no earlier line leaves it behind"):
            fill_in(work, Printed("p", text, python=python), his)


def test_a_reader_sees_nothing_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("YOLO_VERBOSE", "false")
    found = environment_of(tmp_path / "venv", tmp_path)
    assert "PYTHONPATH" not in found
    assert "YOLO_VERBOSE" not in found
    assert found["PATH"].startswith(str(tmp_path / "venv" / "bin"))
    assert Reader(tmp_path, found).runs('test -z "$PYTHONPATH" && exit 7') == 7


def test_what_does_not_belong_into_a_wheel_is_found(tmp_path: Path) -> None:
    wheel, source = tmp_path / "a.whl", tmp_path / "a.tar.gz"
    wanted = sorted(contents._wanted())
    about = (
        "Metadata-Version: 2.4\nName: yolo-stability\nLicense-Expression: AGPL-3.0-or-later\nLicense-File: LICENSE\n"
        "Requires-Python: >=3.11\nDescription-Content-Type: text/markdown\n"
        + "".join(f"Provides-Extra: {extra}\n" for extra in ("ray", "tracking", "coco", "dev"))
    )

    def pack(names: list[str], metadata: str) -> list[str]:
        with zipfile.ZipFile(wheel, "w") as archive:
            for name in names:
                archive.writestr(name, "")
            archive.writestr("yolo_stability-0.1.0.dist-info/METADATA", metadata)
        return contents.complaints(wheel, source)

    with tarfile.open(source, "w:gz") as archive:
        for name in sorted(contents._sources()):
            archive.add(REPO / name, f"yolo_stability-0.1.0/{name}")
    assert pack(wanted, about) == []
    assert pack([*wanted, "tests/conftest.py"], about) == ["the wheel holds tests/conftest.py"]
    assert pack([*wanted, "yolo_stability/_configs/a.png"], about) == [
        "the wheel holds yolo_stability/_configs/a.png"
    ]
    lacking = [name for name in wanted if not name.endswith("/shapes.yaml")]
    assert pack(lacking, about) == ["the wheel lacks yolo_stability/_datasets/shapes.yaml"]
    assert pack(wanted, about.replace("AGPL-3.0-or-later", "MIT")) == [
        "License-Expression is MIT, not AGPL-3.0-or-later"
    ]
    assert pack(wanted, about.replace("Provides-Extra: ray\n", "")) == [
        "its extras are coco, dev, tracking"
    ]


def test_a_wrong_option_of_the_tool_is_a_sentence() -> None:
    with pytest.raises(SystemExit, match="'--quick' is not an option"):
        main(["--quick"])
