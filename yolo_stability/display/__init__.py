"""Figures, tables and text of a single run."""
