"""`make test-ray`, `make test-tracking`: tests that need an optional extra, in a folder of its own beside .venv.

    python tests/versions/with_extra.py EXTRA [PYTEST_ARGS]

The extra and what it needs are put there once (ray about 300 MB, tracking about 700 MB); torch and all else are shared.
Exit code: pytest's, or 69 where the extra cannot be installed.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from run import REPO, environment, pip

NOT_INSTALLED = 69  # EX_UNAVAILABLE
TESTS = {"ray": "tests/integration/test_ray.py", "tracking": "tests/integration/test_sinks_real.py"}


def layer(extra: str) -> Path:
    """Return the folder with an extra, made if it is not there."""
    folder = Path(sys.prefix) / f"{extra}-layer"
    if not (folder / ".ready").exists():
        project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = project["optional-dependencies"][extra]
        pip(
            "install",
            "-qq",
            "--upgrade",
            "--target",
            str(folder),
            "-c",
            str(REPO / "constraints.txt"),
            *wanted,
        )
        (folder / ".ready").touch()
    return folder


def main(args: list[str]) -> int:
    """Run the tests; return the exit code."""
    extra, *rest = args or [""]
    if extra not in TESTS:
        raise SystemExit(f"'{extra}' is no extra with tests; there are {', '.join(TESTS)}.")
    try:
        there = layer(extra)
    except RuntimeError as error:
        print(f"not tested: the extra '{extra}' could not be installed: {error}")
        return NOT_INSTALLED
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS[extra], *rest]
    return subprocess.run(command, env=environment(there), cwd=REPO, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
