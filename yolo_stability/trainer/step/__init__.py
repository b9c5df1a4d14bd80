"""What happens around one optimizer step: read gradients, guard, clip, update, record."""
