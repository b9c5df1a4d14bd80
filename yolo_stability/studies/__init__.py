"""Measurements made of many runs or of none: frontier, probe, mechanics, fault detection, remedies, rescues."""
