"""The registry: a folder of modules, read without importing them, checked when one is used."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.registry import Registry
from yolo_stability.interventions.clips import CLIPS
from yolo_stability.interventions.faults import FAULTS
from yolo_stability.interventions.inits import INITS
from yolo_stability.interventions.norms import NORMS

BASE = """
from abc import ABC, abstractmethod
class Tool(ABC):
    @abstractmethod
    def use(self): ...
"""
GOOD = (
    '"""A {0}.\n\nMore about it."""\nfrom {1}.base import Tool\n'
    'class {0}(Tool):\n    def use(self): return "{0}"\n'
)
_numbers = itertools.count()


class Toolbox:
    """A package in a temporary folder, under a name of its own: Python imports each name once."""

    def __init__(self, folder: Path) -> None:
        self.name = f"toolbox{next(_numbers)}"
        self.root = folder / self.name
        for package in (self.root, self.root / "tools"):
            package.mkdir()
            (package / "__init__.py").touch()
        (self.root / "base.py").write_text(BASE)

    def add(self, name: str, source: str | None = None) -> None:
        text = GOOD.format(name.title(), self.name) if source is None else source.format(self.name)
        (self.root / "tools" / f"{name}.py").write_text(text)

    def registry(self) -> Registry[Any]:
        return Registry("tool", f"{self.name}.tools", f"{self.name}.base.Tool")


@pytest.fixture
def toolbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolbox:
    monkeypatch.syspath_prepend(str(tmp_path))
    box = Toolbox(tmp_path)
    box.add("hammer")
    box.add("saw")
    return box


def test_a_new_file_is_a_new_entry(toolbox: Toolbox) -> None:
    assert list(toolbox.registry()) == ["hammer", "saw"]
    toolbox.add("drill")
    registry = toolbox.registry()
    assert registry.names == ("drill", "hammer", "saw")
    assert registry["drill"]().use() == "Drill"


def test_the_real_registries_are_their_folders() -> None:
    folder = Path(__file__).parents[3] / "yolo_stability" / "interventions"
    for registry, name in (
        (CLIPS, "clips"),
        (NORMS, "norms"),
        (INITS, "inits"),
        (FAULTS, "faults"),
    ):
        files = {path.stem for path in (folder / name).glob("[!_]*.py")}
        assert set(registry) == files
        assert files


def test_private_modules_are_no_entries(toolbox: Toolbox) -> None:
    toolbox.add("_shared")
    assert "_shared" not in toolbox.registry().names


def test_names_and_summaries_import_no_entry(toolbox: Toolbox) -> None:
    toolbox.add("bomb", '"""Goes off."""\nraise RuntimeError("imported")\n')
    toolbox.add("silent", "x = 1\n")
    registry = toolbox.registry()
    registry.check("bomb", "tool=bomb")
    assert registry.summaries == {
        "bomb": "Goes off.",
        "hammer": "A Hammer.",
        "saw": "A Saw.",
        "silent": "",
    }
    with pytest.raises(RuntimeError, match="imported"):
        registry["bomb"]


def test_an_unknown_name_gets_the_nearest_and_all(toolbox: Toolbox) -> None:
    with pytest.raises(ConfigError) as caught:
        toolbox.registry().check("hamer", "tool=hamer:3")
    assert str(caught.value) == (
        "tool=hamer:3: there is no tool 'hamer'. Did you mean 'hammer'? Choose from hammer, saw."
    )
    with pytest.raises(ConfigError, match=r"no tool 'x'\. Choose from hammer, saw\."):
        toolbox.registry().check("x", "tool=x")


@pytest.mark.parametrize("name", ["hamer", "__init__", "..base", ""])
def test_a_name_that_is_no_entry_is_not_imported(toolbox: Toolbox, name: str) -> None:
    with pytest.raises(KeyError):
        toolbox.registry()[name]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "defines 0: none"),
        ("from {0}.base import Tool", "defines 0: none"),
        ("from {0}.base import Tool\nclass _A(Tool): ...", "defines 0: none"),
        ("from {0}.base import Tool\nclass A(Tool): ...\nclass B(Tool): ...", "defines 2: A, B"),
        ("from {0}.base import Tool\nclass A(Tool): ...", "A does not implement use of"),
    ],
)
def test_a_module_that_breaks_the_contract_is_named(
    toolbox: Toolbox, source: str, message: str
) -> None:
    toolbox.add("broken", source)
    with pytest.raises(TypeError, match=rf"{toolbox.name}\.tools\.broken.*{message}"):
        toolbox.registry()["broken"]


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(TypeError, match=r"yolo_stability\.nowhere is not a package"):
        list(Registry("tool", "yolo_stability.nowhere", "yolo_stability.core.errors.ConfigError"))


def test_names_and_summaries_of_all_registries_load_no_torch() -> None:
    code = (
        "import sys\n"
        "from yolo_stability.interventions.clips import CLIPS\n"
        "from yolo_stability.interventions.faults import FAULTS\n"
        "from yolo_stability.interventions.inits import INITS\n"
        "from yolo_stability.interventions.norms import NORMS\n"
        "assert all(r.summaries for r in (CLIPS, FAULTS, INITS, NORMS))\n"
        "print([m for m in ('torch', 'ultralytics', 'numpy') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
