"""Batches that broke a step: captured, localized to an image and a layer, and replayed."""
