"""Studies: frontier, probe, mechanics, fault detection, remedy matrix, rescue rate."""
