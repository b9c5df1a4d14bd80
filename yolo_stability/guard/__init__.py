"""Decides whether an optimizer step may be applied, and restores the state before it if not."""
