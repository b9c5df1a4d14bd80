"""Datasets: what `data=` means, the COCO importer and the embedded sets; loads neither torch nor Ultralytics."""

from yolo_stability.data.coco import import_coco
from yolo_stability.data.embedded import EMBEDDED
from yolo_stability.data.resolve import ResolvedData, resolve_data
from yolo_stability.data.tally import ImportReport

__all__ = ["EMBEDDED", "ImportReport", "ResolvedData", "import_coco", "resolve_data"]
