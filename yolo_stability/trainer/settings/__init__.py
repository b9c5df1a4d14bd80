"""Settings in force during a run, and the sidecar that remembers them for a resume."""
