"""Location of the files shipped with the code: `configs/` and `datasets/`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["resource"]

PACKAGE = Path(__file__).resolve().parents[1]


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder.

    In a checkout the folders are beside the package; in a wheel they are inside it as `_configs`
    and `_datasets`.

    Args:
        *parts: Top folder (`configs` or `datasets`) and the path below it.

    Returns:
        An absolute path.

    Raises:
        FileNotFoundError: It is in neither place; the installation is damaged.

    Example:
        >>> resource("datasets", "shapes.yaml").name
        'shapes.yaml'
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
