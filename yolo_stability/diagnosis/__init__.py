"""Diagnosis: findings, cause and advice from the recorded numbers of a run."""
