"""Finished numbers to findings, cause and advice."""
