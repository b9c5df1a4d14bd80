"""`rescue=auto` on many failing runs, in as many sittings as it takes; every run that has ended is kept as a row.

    python tests/benchmarks/rescues.py out=FOLDER [seeds=0-4] [random=0-3] [suites=rescue,rescue-sgd]
        [model=yolov8n.yaml] [imgsz=64] [epochs=16] [jobs=1] [rows=docs/measured/rescues.jsonl]

The suites are those of `benchmark suite=rescue`, smaller in three ways that change no result. A remedy by hand is
looked for only until one has repaired a run: whether it is repairable is then known. Where `rescue=auto` did nothing
but take one remedy once, the run that always takes that remedy is the same run and not done again; on the seeds of
`random=` it is, and the report says how many came out the same. A random choice is tried for those seeds only. What the
rows file holds, from whichever machine, is not run again; at the end it is scored as a whole. `seeds=none` runs nothing
and scores what is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))  # another copy may be installed

from yolo_stability.benchmarks.arms import SIGN  # noqa: E402
from yolo_stability.benchmarks.executors import EXECUTORS, Executor  # noqa: E402
from yolo_stability.benchmarks.fitness import final_fitness  # noqa: E402
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec  # noqa: E402
from yolo_stability.benchmarks.rows import RunResultRow  # noqa: E402
from yolo_stability.benchmarks.runner import make_plan  # noqa: E402
from yolo_stability.benchmarks.suite import load_suite  # noqa: E402
from yolo_stability.core.errors import TraceError  # noqa: E402
from yolo_stability.core.files import replace_file  # noqa: E402
from yolo_stability.studies.rescue_rate.report import rescue_markdown  # noqa: E402
from yolo_stability.studies.rescue_rate.score import AUTO, RANDOM, SHARE, score_runs  # noqa: E402
from yolo_stability.trace import load_trace  # noqa: E402
from yolo_stability.trace.digest import trace_digest  # noqa: E402

CONTROL = "control"
HANDS = ("rescue-lower-rate", "rescue-tighten-clip", "rescue-rewarm")
REMEDIES = {hand: hand.removeprefix("rescue-").replace("-", "_") for hand in HANDS}
OPTIONS = {
    "out": "",
    "seeds": "0-4",
    "random": "0-3",
    "suites": "rescue,rescue-sgd",
    "model": "yolov8n.yaml",
    "imgsz": "64",
    "epochs": "16",
    "jobs": "1",
    "rows": str(REPO / "docs" / "measured" / "rescues.jsonl"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run that has ended.

    Attributes:
        suite: Name of the suite.
        arm, task, model, seed: Which run of it.
        imgsz: Size of its images.
        epochs: Its length.
        digest: Hash of its settings and of the libraries that decide what comes out.
        outcome: How it ended.
        fitness: The task's own mAP50 at the end; 0 for one that did not come to its end.
        steps: Seconds in the step loop; None where it took none.
        trace: Digest of its trace, of healthy runs only: what it is needed for.
        remedies: What a rescue did, in order; `ended: CAUSE` where it gave up.
        same_as: Arm whose run this is, too, so that it was not done again; None for a run of its own.
    """

    suite: str
    arm: str
    task: str
    model: str
    imgsz: int
    epochs: int
    seed: int
    digest: str
    outcome: str
    fitness: float
    steps: float | None
    trace: str | None
    remedies: tuple[str, ...]
    same_as: str | None = None

    @property
    def group(self) -> tuple[str, str, int, int]:
        """Suite, model, size and length: what rows must share to be one measurement."""
        return self.suite, self.model.replace("-pose", ""), self.imgsz, self.epochs

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What no two rows of a suite, model and size have in common."""
        return self.arm, self.task, self.model, self.seed

    def as_run(self) -> RunResultRow:
        """Return it as a run of a benchmark."""
        name = "metrics/mAP50(P)" if self.task == "pose" else "metrics/mAP50(B)"
        return RunResultRow(
            arm=self.arm,
            task=self.task,
            model=self.model,
            seed=self.seed,
            outcome=self.outcome,
            verdict="inconclusive",
            metrics={name: self.fitness},
            seconds={} if self.steps is None else {"steps": self.steps},
            trace_digest=self.trace,
        )


def row_of(suite: str, spec: RunSpec, outcome: RunOutcome, folder: Path) -> Row:
    """Return what is kept of a run.

    Args:
        suite: Name of the suite.
        spec: The run.
        outcome: How it ended.
        folder: Its run folder.
    """
    fitness = final_fitness(spec.task, outcome.outcome, outcome.metrics) or 0.0
    try:
        trace = load_trace(folder)
        events = trace.events.select("kind", "data").rows()
        told = tuple(
            _told(kind, json.loads(data))
            for kind, data in events
            if kind in {"rescue", "rescue_stop"}
        )
        digest = trace_digest(trace) if spec.arm in {CONTROL, AUTO} else None
    except TraceError:
        told, digest = (), None
    return Row(
        suite=suite,
        arm=spec.arm,
        task=spec.task,
        model=spec.model,
        imgsz=int(spec.settings["imgsz"]),
        epochs=int(spec.settings["epochs"]),
        seed=spec.seed,
        digest=spec.digest,
        outcome=outcome.outcome,
        fitness=round(fitness if outcome.outcome == "finished" else 0.0, 5),
        steps=outcome.seconds.get("steps"),
        trace=digest,
        remedies=told,
    )


def _told(kind: str, data: Mapping[str, Any]) -> str:
    return f"ended: {data['cause']}" if kind == "rescue_stop" else str(data["remedy"])


def twin(auto: Row) -> Row | None:
    """Return the run by hand that a run under `rescue=auto` is, too; None where it did more than take one remedy once.

    Both decide alike when to act and how strongly, and training is deterministic.
    """
    cause = auto.arm.partition(SIGN)[0]
    names = [hand for hand, remedy in REMEDIES.items() if auto.remedies == (remedy,)]
    return replace(auto, arm=f"{cause}{SIGN}{names[0]}", same_as=auto.arm) if names else None


def wanted(
    specs: Sequence[RunSpec], known: Mapping[tuple[str, str, str, int], Row], *, blind: bool
) -> list[RunSpec]:
    """Return the runs of one seed and task that must come next; none when it is known what is to be known.

    Args:
        specs: All runs of that seed and task.
        known: What has ended.
        blind: A random choice is tried, too, and the healthy run under `rescue=auto`.
    """
    by_arm = {spec.arm: spec for spec in specs}
    rows = {
        arm: known.get((spec.arm, spec.task, spec.model, spec.seed)) for arm, spec in by_arm.items()
    }
    causes = sorted({arm.partition(SIGN)[0] for arm in by_arm if arm.endswith(f"{SIGN}{AUTO}")})
    first = [CONTROL, *([AUTO] if blind else [])]
    for cause in causes:
        first += [cause, f"{cause}{SIGN}{AUTO}", *([f"{cause}{SIGN}{RANDOM}"] if blind else [])]
    missing = [arm for arm in first if rows[arm] is None]
    if missing:
        return [by_arm[arm] for arm in missing]
    healthy = rows[CONTROL].fitness  # type: ignore[union-attr]
    failing = [cause for cause in causes if rows[cause].fitness < SHARE * healthy]  # type: ignore[union-attr]
    if blind:
        rows = {arm: row for arm, row in rows.items() if row is None or row.same_as is None}
    hands = [_next_hand(cause, rows, SHARE * healthy) for cause in failing]
    return [by_arm[arm] for arm in hands if arm]


def _next_hand(cause: str, rows: Mapping[str, Row | None], enough: float) -> str | None:
    """Return the remedy by hand that must be tried next; None where one has repaired, or all have been tried."""
    tried = {hand: rows.get(f"{cause}{SIGN}{hand}") for hand in HANDS}
    if any(row is not None and row.fitness >= enough for row in tried.values()):
        return None
    return next((f"{cause}{SIGN}{hand}" for hand, row in tried.items() if row is None), None)


def plan_of(suite: str, model: str, imgsz: int, epochs: int, seeds: Sequence[int]) -> list[RunSpec]:
    """Return all runs of some seeds of a suite."""
    shipped = load_suite(suite)
    models = {"detect": model, "pose": model.replace(".yaml", "-pose.yaml")}
    size = {"imgsz": imgsz, "epochs": epochs}
    changes = {
        "seeds": max(seeds) + 1,
        "models": models,
        "overrides": {**shipped.overrides, **size},
    }
    specs = make_plan(shipped.changed({**changes, "limits": {"minutes": 15.0}}))
    return [spec for spec in specs if spec.seed in seeds]


def read_rows(file: Path) -> list[Row]:
    """Return what has been measured so far, on whichever machine."""
    if not file.exists():
        return []
    contents = [
        json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    return [Row(**{**content, "remedies": tuple(content["remedies"])}) for content in contents]


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Write all rows, one a line, in an order that does not depend on when they were measured."""
    ordered = sorted(rows, key=lambda row: (*row.group, row.seed, row.task, row.arm))
    replace_file(file, "".join(json.dumps(asdict(row)) + "\n" for row in ordered).encode())


def measure(chosen: Mapping[str, Any], rows: list[Row]) -> Iterator[Row]:
    """Run what is missing, seed by seed, and yield each run that has ended."""
    place = EXECUTORS["local"](jobs=chosen["jobs"])
    for seed in chosen["seeds"]:
        for suite in chosen["suites"]:
            plan = plan_of(suite, chosen["model"], chosen["imgsz"], chosen["epochs"], [seed])
            group = (suite, chosen["model"], chosen["imgsz"], chosen["epochs"])
            known = {r.key: r for r in rows if r.group == group}
            folder = Path(chosen["out"]) / suite
            while todo := _todo(plan, known, blind=seed in chosen["random"]):
                for spec, outcome in _run(todo, folder, place):
                    row = row_of(suite, spec, outcome, folder / spec.folder)
                    known[row.key] = row
                    yield row
                    same = (
                        twin(row)
                        if row.arm.endswith(f"{SIGN}{AUTO}") and seed not in chosen["random"]
                        else None
                    )
                    if same is not None:
                        known[same.key] = same
                        yield same


def _todo(plan: Sequence[RunSpec], known: Mapping[Any, Row], *, blind: bool) -> list[RunSpec]:
    """Return the runs of both tasks that must come next."""
    tasks = [[spec for spec in plan if spec.task == task] for task in ("detect", "pose")]
    return [spec for own in tasks for spec in wanted(own, known, blind=blind)]


def _run(
    todo: Sequence[RunSpec], folder: Path, place: Executor
) -> Iterator[tuple[RunSpec, RunOutcome]]:
    """Yield the outcome of each run, of those first that the folder holds already."""
    missing = []
    for spec in todo:
        found = RunOutcome.read(folder / spec.folder)
        if found and found.is_final and found.digest == spec.digest:
            yield spec, found
        else:
            missing.append(spec)
    for spec, outcome in place.run(missing, folder, lambda spec: None) if missing else ():
        if not outcome.is_final:
            raise SystemExit(f"{spec.title} was killed; the same command goes on from here")
        yield spec, outcome


def report(rows: Sequence[Row]) -> str:
    """Return the tables: of each suite, model and size, then of all together."""
    texts = []
    for group in sorted({row.group for row in rows}):
        suite, model, imgsz, epochs = group
        texts += [
            f"## {suite}, {model}, imgsz {imgsz}, {epochs} epochs",
            _scored([r for r in rows if r.group == group]),
        ]
    return "\n\n".join([*texts, "## all", _scored(rows), f"{_twins(rows)}\n{_outdated(rows)}"])


def _outdated(rows: Sequence[Row]) -> str:
    """Say how many runs would come with other settings, or other libraries, if they were asked for today."""
    own = [row for row in rows if row.same_as is None]
    now = {}
    for group in {row.group for row in own}:
        suite, model, imgsz, epochs = group
        for spec in plan_of(
            suite, model, imgsz, epochs, sorted({row.seed for row in own if row.group == group})
        ):
            now[group, (spec.arm, spec.task, spec.model, spec.seed)] = spec.digest
    other = sum(now.get((row.group, row.key)) != row.digest for row in own)
    return f"runs: {len(own)}, of settings or libraries that are not those of today: {other}"


def _twins(rows: Sequence[Row]) -> str:
    """Say how many runs by hand were done that `rescue=auto` should have done alike, and how many it did."""
    known = {(row.group, row.key): row for row in rows if row.same_as is None}
    pairs = [
        (known[row.group, same.key], same)
        for row in rows
        if row.arm.endswith(f"{SIGN}{AUTO}")
        and (same := twin(row))
        and (row.group, same.key) in known
    ]
    alike = sum(hand.fitness == same.fitness for hand, same in pairs)
    return f"runs by hand that should equal the one under rescue=auto: {len(pairs)}, of the same fitness: {alike}"


def _scored(rows: Sequence[Row]) -> str:
    """Return the tables of some rows; runs of several suites keep their healthy twins apart by the model's name."""
    runs = [
        replace(row.as_run(), model=f"{row.suite}/{row.model}/{row.imgsz}/{row.epochs}")
        for row in rows
    ]
    scored = score_runs(runs, CONTROL)
    return "nothing to score yet" if scored is None else rescue_markdown(scored)


def options(args: Sequence[str]) -> dict[str, Any]:
    """Read the arguments; a wrong one ends the program with a sentence."""
    known = dict(OPTIONS)
    for arg in args:
        key, equals, value = arg.partition("=")
        if not equals or key not in known:
            raise SystemExit(f"'{arg}' is not an option.\n{__doc__}")
        known[key] = value
    chosen: dict[str, Any] = {
        **known,
        "seeds": _numbers(known["seeds"]),
        "random": _numbers(known["random"]),
        "suites": known["suites"].split(","),
        "imgsz": int(known["imgsz"]),
        "epochs": int(known["epochs"]),
        "jobs": int(known["jobs"]),
    }
    if chosen["seeds"] and not chosen["out"]:
        raise SystemExit(f"out= is missing: the folder of the runs.\n{__doc__}")
    return chosen


def _numbers(text: str) -> list[int]:
    """Return the numbers of `0-3`, `0,2` or `none`."""
    if text == "none":
        return []
    ends = [part.split("-") for part in text.split(",")]
    return [number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)]


def main(args: Sequence[str]) -> int:
    """Run, keep the rows, print the tables; return the exit code."""
    chosen = options(args)
    file = Path(chosen["rows"])
    rows = read_rows(file)
    for row in measure(chosen, rows):
        rows.append(row)
        write_rows(file, rows)
        print(
            f"{row.suite} {row.arm} {row.task} {row.seed}: {row.outcome} {row.fitness:.3f} {' '.join(row.remedies)}"
        )
    print(report(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
