"""Reads and audits a checkpoint without running anything in it."""
