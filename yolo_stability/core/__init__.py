"""Shared types, errors and helpers that need nothing else of the package."""
