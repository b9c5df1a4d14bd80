"""Ultralytics' names, config grammar and version differences."""
