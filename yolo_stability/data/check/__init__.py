"""Finds what a dataset would lose or get wrong in training."""
