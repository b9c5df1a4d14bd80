"""Datasets: values of `data=`, the COCO importer, embedded sets; loads no torch or Ultralytics."""

from yolo_stability.data.coco.import_report import ImportReport
from yolo_stability.data.coco.importer import import_coco
from yolo_stability.data.resolve import ResolvedData, resolve_data
from yolo_stability.data.synthetic.datasets import EMBEDDED

__all__ = ["EMBEDDED", "ImportReport", "ResolvedData", "import_coco", "resolve_data"]
