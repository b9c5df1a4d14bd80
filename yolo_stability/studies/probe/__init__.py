"""One batch forward and backward before any training: gradient flow along the depth."""
