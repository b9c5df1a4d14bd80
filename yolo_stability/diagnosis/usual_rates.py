"""Usual learning rates by optimizer type and model family."""

from __future__ import annotations

from yolo_stability.core.types import RunHeader

__all__ = ["is_rtdetr", "usual_rate_text", "usual_rates"]

_ADAM, _SGD = (0.005, 0.02), (0.01, 0.1)
# a transformer decoder with learned queries: its authors and Ultralytics train it at 1e-4
_RTDETR = (1e-4, 1e-3)
_ADVISED_ADAM, _ADVISED_RTDETR = 0.002, 1e-4


def is_rtdetr(header: RunHeader | None) -> bool:
    """Return whether a run trains RT-DETR, by its blocks or the name of its model."""
    if header is None:
        return False
    names = (str(source.get("model") or "") for source in (header.effective, header.requested))
    return any(b.module_type.startswith("RTDETR") for b in header.blocks) or any(
        "rtdetr" in name.lower() for name in names
    )


def usual_rates(header: RunHeader | None) -> tuple[float, float]:
    """Return the usual rate of a run's optimizer and family, and the one it hardly ever exceeds."""
    optimizer = "" if header is None else str(header.effective.get("optimizer") or "")
    if "adam" not in optimizer.lower():
        return _SGD
    return _RTDETR if is_rtdetr(header) else _ADAM


def usual_rate_text(header: RunHeader | None) -> str:
    """Return advice to use a usual rate; to lower it where it is usual already.

    `optimizer=auto` ignores `lr0`, so an optimizer is part of the advice.
    """
    multiplied = header is None or float(header.requested.get("lr_mult") or 1.0) != 1.0
    first = "lr_mult=1; " if multiplied else ""
    if not multiplied and header is not None and _is_usual(header):
        return "a lower learning rate (lr_mult=0.1)"
    if is_rtdetr(header):
        return f"the usual learning rate of RT-DETR ({first}optimizer=AdamW lr0=0.0001)"
    return f"a usual learning rate ({first}optimizer=AdamW lr0=0.002 or SGD lr0=0.01)"


def _is_usual(header: RunHeader) -> bool:
    """Return whether every group's rate is at most what the advice would set."""
    rates = [
        float(group.get("lr", 0.0)) for group in (header.effective.get("groups") or {}).values()
    ]
    adam = "adam" in str(header.effective.get("optimizer") or "").lower()
    advised = _ADVISED_RTDETR if is_rtdetr(header) else _ADVISED_ADAM if adam else _SGD[0]
    return bool(rates) and min(rates) <= advised
