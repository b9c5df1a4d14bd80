"""Ultralytics' names, configuration grammar and version differences."""
