"""Evidence for the causes of an instability, by where it comes from."""
