"""`make test-ray`: the tests of `executor=ray`, with Ray in a folder of its own beside this environment.

    python tests/versions/with_ray.py [PYTEST_ARGS]

Ray and what it needs are put there once (about 300 MB); torch and all else are shared. Exit code: pytest's.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from run import REPO, environment, pip

LAYER = Path(sys.prefix) / "ray-layer"


def layer() -> Path:
    """Return the folder with Ray, made if it is not there."""
    if not (LAYER / ".ready").exists():
        project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extra = project["optional-dependencies"]["ray"]
        pip("install", "-qq", "--upgrade", "--target", str(LAYER), "-c", str(REPO / "constraints.txt"), *extra)
        (LAYER / ".ready").touch()
    return LAYER


def main(args: list[str]) -> int:
    """Run the tests; return the exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_ray.py", *args]
    return subprocess.run(command, env=environment(layer()), cwd=REPO, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
