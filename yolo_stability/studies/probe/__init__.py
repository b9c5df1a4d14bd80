"""The probe: gradient flow along the depth on one batch, before any training."""
