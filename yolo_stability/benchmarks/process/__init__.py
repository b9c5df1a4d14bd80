"""Processes of a benchmark: worker, supervisor and fork server."""
