"""Reading and audit of checkpoints without executing anything in them."""
