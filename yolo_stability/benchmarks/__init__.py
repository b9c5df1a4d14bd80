"""Benchmark suites: plan, run, assess against a control, compare and verify training runs."""
