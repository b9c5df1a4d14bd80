"""One optimizer step: read gradients, guard, clip, update, record."""
