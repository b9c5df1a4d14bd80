"""Rolls a run back and applies a remedy."""
