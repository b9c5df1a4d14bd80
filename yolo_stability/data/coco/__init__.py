"""Imports annotations in COCO's own layout."""
