"""Where the files that ship beside the code are: `configs/` and `datasets/`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["resource"]

PACKAGE = Path(__file__).resolve().parents[1]


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, such as `resource("datasets", "shapes.yaml")`.

    In a checkout the folders lie beside the package; in a wheel they lie inside it as `_configs` and
    `_datasets`.

    Args:
        *parts: The top folder (`configs` or `datasets`) and the path below it.

    Returns:
        An absolute path.

    Raises:
        FileNotFoundError: If it is in neither place: the installation is damaged, not the user's input.
    """
    folder, *rest = parts
    candidates = (
        [PACKAGE.parent.joinpath(*parts)] if (PACKAGE.parent / "pyproject.toml").is_file() else []
    )
    candidates.append(PACKAGE.joinpath(f"_{folder}", *rest))
    for path in candidates:
        if path.exists():
            return path
    raise FileNotFoundError(
        f"{'/'.join(parts)} is missing from this installation of yolo_stability"
    )
