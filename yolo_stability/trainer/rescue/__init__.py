"""Rescue: rolls a run back to a healthy state and applies a remedy."""
