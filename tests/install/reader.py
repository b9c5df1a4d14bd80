"""A reader of the documentation: an environment with the wheel, an empty folder, and what only a reader can have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from expected import may_be_left_behind
from printed import REPO, Printed

HIS_RUN = (
    "yolo-stability train data=shapes model=yolo26n.yaml imgsz=32 batch=4 nbs=4 epochs=2 optimizer=SGD lr0=0.005"
    " warmup_epochs=0 mosaic=0 amp=False cache=ram device=cpu workers=0 fault=nan_pixel@31 name=his"
)
MAKE_DATA = '''
import os, shutil, sys, yaml
from pathlib import Path
from ultralytics import YOLO
from ultralytics.utils import ROOT, SETTINGS
from yolo_stability.data.synthetic.datasets import embedded_folder
from yolo_stability.data.resolve import resolve_data

def short(name, task, target):
    """A dataset of 16 and 8 images, as a YAML file."""
    source = Path(resolve_data(name, task).data)
    content = yaml.safe_load(source.read_text())
    root = Path(content.get("path") or source.parent)
    for split, count in (("train", 16), ("val", 8)):
        listed = source.parent / content[split] if not (root / content[split]).exists() else root / content[split]
        images = [os.path.abspath(listed.parent / line)  # links stay: labels lie beside them
                  for line in listed.read_text().splitlines()[:count]]
        file = target.with_name(f"{target.stem}-{split}.txt").resolve()
        file.write_text("\\n".join(images) + "\\n")
        content[split] = str(file)
    content.pop("path", None)
    target.write_text(yaml.safe_dump(content))

if Path(SETTINGS["runs_dir"]).resolve() != Path("runs").resolve():
    SETTINGS.update(runs_dir=str(Path("runs").resolve()))  # linked from a clone, Ultralytics would write there
folder = Path("path/to")
folder.mkdir(parents=True)
short("shapes", "detect", folder / "data.yaml")
short("figures", "pose", Path("coco8-pose.yaml"))
for name in ("coco8.yaml", "coco.yaml"):
    shutil.copy(folder / "data.yaml", name)
(folder / "coco").symlink_to(sys.argv[1] or embedded_folder("figures")[0])
shutil.copy(next(ROOT.rglob("yolo26.yaml")), folder / "model.yaml")
for name in ("yolo26n", "yolo26n-pose"):
    YOLO(f"{name}.yaml").save(f"{name}.pt")
Path("my.yaml").write_text("""
schema_version: 1
name: mine
control: control
arms: [control, huge-lr]
tasks: [detect]
""")
'''


@dataclass(frozen=True)
class Reader:
    """Somebody who types what is printed.

    Attributes:
        folder: Where he stands; everything is below it.
        environment: Variables; the programs of the environment with the wheel come first.
    """

    folder: Path
    environment: dict[str, str]

    def runs(self, command: str | list[str], log: Path | None = None) -> int:
        """Run a line in a shell, or a command; return the exit code."""
        words = ["bash", "-c", command] if isinstance(command, str) else command
        place = {"cwd": self.folder, "env": self.environment, "stdin": subprocess.DEVNULL}
        if log is None:
            return subprocess.run(words, **place, check=False).returncode  # type: ignore[call-overload]
        with log.open("wb") as out:
            return subprocess.run(
                words, **place, check=False, stdout=out, stderr=subprocess.STDOUT
            ).returncode  # type: ignore[call-overload]


def environment_of(venv: Path, root: Path) -> dict[str, str]:
    """Return the variables of a reader: the programs of the venv first, Ultralytics offline, nothing of the repository.

    Args:
        venv: The environment with the wheel.
        root: Folder for settings and caches.
    """
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PYTHON", "YOLO_", "VIRTUAL_ENV", "COV_", "PYTEST"))
    }
    config = root / "config" / "Ultralytics"
    config.mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        "PATH": os.pathsep.join([str(venv / "bin"), os.environ.get("PATH", "")]),
        "YOLO_CONFIG_DIR": str(config.parent),
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_STABILITY_CACHE": str(root / "cache"),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
    }


def settle(reader: Reader, his_run: Path, log: Path) -> None:
    """Give a reader what is his: data, weights, a model and a suite; the run of his is made where it is not there yet.

    Args:
        reader: Stands in an empty folder.
        his_run: Where the run is, or is to be.
        log: File for what is printed.

    Raises:
        RuntimeError: It cannot be made.
    """
    mini = REPO.parent / "shared" / "data" / "coco-mini"
    font = next(Path(reader.environment["YOLO_CONFIG_DIR"]).glob("Ultralytics"))
    place_font = (
        "import matplotlib, shutil; "
        f"shutil.copy(matplotlib.get_data_path() + '/fonts/ttf/DejaVuSans.ttf', {str(font / 'Arial.ttf')!r})"
    )
    for command in (
        ["python", "-c", place_font],
        ["python", "-c", MAKE_DATA, str(mini) if mini.is_dir() else ""],
    ):
        if reader.runs(command, log):
            raise RuntimeError(f"what a reader has could not be made: {last_words(log)}")
    if not his_run.exists():
        if reader.runs(HIS_RUN, log):
            raise RuntimeError(f"a run for the reader could not be made: {last_words(log)}")
        (reader.folder / "runs/detect/his").rename(his_run)
        shutil.rmtree(reader.folder / "runs")


def last_words(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    return lines[-1] if lines else "nothing printed"


def fill_in(folder: Path, line: Printed, his_run: Path, *, any_run: bool = False) -> list[str]:
    """Put runs and files of runs where a line expects them and no earlier line has left them; return which.

    Args:
        folder: Where the reader stands.
        line: The line.
        his_run: The run to copy from.
        any_run: The earlier pages were not read, so that any run may be missing.

    Raises:
        RuntimeError: Nothing leaves that path behind, and it is not among those that a reader would have.
    """
    filled = []
    told = (
        re.findall(r'load_trace\("([^"]+)"\)|diagnose\("([^"]+)"\)', line.text)
        if line.python
        else ()
    )
    words = (
        [a or b for a, b in told]
        if line.python
        else [word.partition("=")[2] or word for word in line.text.split()]
    )
    for word in words:
        path = folder / word
        if not word.startswith("runs/detect/") or path.exists():
            continue
        run = folder.joinpath(*Path(word).parts[:3])
        if line.python and 'out="' + word in line.text:
            continue
        if not any_run and not may_be_left_behind(word):
            raise RuntimeError(f"{word}: no earlier line leaves it behind")
        inside = Path(word).relative_to(run.relative_to(folder))
        source = his_run / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
        filled.append(word)
    return filled
