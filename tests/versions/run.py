"""`make test-versions`: the tests of the seam on several versions of Ultralytics, as a table.

    python tests/versions/run.py [--fast] [VERSION ...] [-- PYTEST_ARGS]

Without versions: 8.4.60, 8.4.120, 8.4.190 and the newest 8.4 that pip offers. Each gets a folder of its own with that
version of Ultralytics and what it needs beyond this environment; torch and all else are shared, so a version costs
10 MB and seconds. `--fast` leaves out the tests that train. Exit code 1 when a version fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, PathDistribution, distribution, version
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
LAYERS = Path(sys.prefix) / "ultralytics-versions"
VERSIONS = ["8.4.60", "8.4.120", "8.4.190"]
FAST = [
    "tests/contract/test_canary.py",
    *(f"tests/unit/{name}" for name in ("compat", "guard", "interventions", "trainer")),
]
TRAINING = [
    f"tests/integration/test_{name}.py"
    for name in ("passive", "truth", "guard", "attach", "switches")
]


def pip(*args: str) -> str:
    """Run pip for this environment, also where it has none of its own; return what it prints."""
    try:
        distribution("pip")
        command = [sys.executable, "-m", "pip"]
    except PackageNotFoundError:
        command = ["python3", "-m", "pip", "--python", sys.executable]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", *args],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"pip {args[0]} failed: {(done.stderr.strip() or done.stdout).splitlines()[-1]}"
        )
    return done.stdout


def newest() -> str | None:
    """Return the newest 8.4 that pip offers, or None where it cannot tell."""
    try:
        offered = re.findall(r"\b8\.4\.\d+\b", pip("index", "versions", "ultralytics"))
    except RuntimeError as error:
        print(f"newest: not tried, {error}", file=sys.stderr)
        return None
    return max(offered, key=lambda v: int(v.split(".")[2]), default=None)


def layer(wanted: str) -> Path | None:
    """Return a folder with this version, made if it is not there; None when the environment has it already.

    Args:
        wanted: A version of Ultralytics.
    """
    if version("ultralytics") == wanted:
        return None
    folder = LAYERS / wanted
    if not (folder / ".ready").exists():
        pip(
            "install",
            "-qq",
            "--no-deps",
            "--upgrade",
            "--target",
            str(folder),
            f"ultralytics=={wanted}",
        )
        for name in missing(folder, wanted):
            pip("install", "-qq", "--no-deps", "--target", str(folder), name)
        (folder / ".ready").touch()
    return folder


def missing(folder: Path, wanted: str) -> list[str]:
    """Return the requirements of that version which this environment lacks (scipy, up to 8.4.120 or so)."""
    found = PathDistribution(folder / f"ultralytics-{wanted}.dist-info")
    names = []
    for line in found.requires or []:
        requirement, _, marker = line.partition(";")
        name = re.split(r"[<>=!\[ (]", requirement.strip())[0]
        if marker.strip():
            continue  # extras and other platforms
        try:
            distribution(name)
        except PackageNotFoundError:
            names.append(requirement.strip())
    return names


def environment(folder: Path | None) -> dict[str, str]:
    """Return the environment in which a version is the one that is imported."""
    path = [str(folder)] if folder else []
    path += [str(REPO), str(REPO / "tests" / "versions"), os.environ.get("PYTHONPATH", "")]
    kept = {k: v for k, v in os.environ.items() if k != "YOLO_STABILITY_TEST_ROOT"}
    return {**kept, "PYTHONPATH": os.pathsep.join(p for p in path if p), "OMP_NUM_THREADS": "1"}


def test(wanted: str, tests: list[str], extra: list[str]) -> tuple[bool, str, list[str]]:
    """Run the tests on one version; return whether they passed, the closing line, and what failed."""
    try:
        env = environment(layer(wanted))
    except RuntimeError as error:
        return False, str(error), []
    seen = subprocess.run(
        [sys.executable, "-c", "import ultralytics; print(ultralytics.__version__)"],
        env={**env, "YOLO_VERBOSE": "false"},
        cwd=REPO,
        check=False,
        capture_output=True,
        text=True,
    ).stdout.split()
    if seen[-1:] != [wanted]:
        return False, f"{' '.join(seen[-1:]) or 'nothing'} was imported instead", []
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "older_ultralytics",
    ]
    done = subprocess.run(
        [*command, "-m", "not full", *tests, *extra],
        env=env,
        cwd=REPO,
        check=False,
        capture_output=True,
        text=True,
    )
    closing = [
        line for line in done.stdout.splitlines() if re.search(r"\d+ \w+.* in [0-9.]+s", line)
    ]
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return (
        done.returncode == 0,
        (closing or done.stdout.splitlines() or ["no output"])[-1].strip("= "),
        failed,
    )


def main(args: list[str]) -> int:
    """Test each version and print the table; return the exit code."""
    split = args.index("--") if "--" in args else len(args)
    chosen, extra = args[:split], args[split + 1 :]
    tests = FAST if "--fast" in chosen else [*FAST, *TRAINING]
    versions = [a for a in chosen if not a.startswith("-")]
    if not versions:
        latest = newest()
        versions = list(dict.fromkeys([*VERSIONS, *([latest] if latest else [])]))
    print(f"{'ultralytics':12} {'':7} result", flush=True)
    good = True
    for wanted in versions:
        start = time.perf_counter()
        passed, closing, failed = test(wanted, tests, extra)
        good &= passed
        print(f"{wanted:12} {'ok' if passed else 'FAILED':7} {closing}", flush=True)
        for line in failed:
            print(f"{'':20} {line}")
        if not closing:
            print(f"{'':20} after {time.perf_counter() - start:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
