"""Dataset check: finds what a training would lose or misread."""
