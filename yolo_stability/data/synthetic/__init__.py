"""Embedded datasets drawn from code: shapes and figures."""
