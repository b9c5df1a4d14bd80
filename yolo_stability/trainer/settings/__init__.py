"""Effective settings of a run, and the sidecar file that stores them for a resume."""
