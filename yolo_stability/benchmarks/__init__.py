"""Suites of training runs: planned, run, assessed against a control, compared and verified."""
