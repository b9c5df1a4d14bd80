"""Renders benchmark results as HTML, Markdown and plots; computes no statistics."""
