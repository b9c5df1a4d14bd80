"""Incidents: batches that broke a step, saved, localized to an image and a layer, and replayed."""
