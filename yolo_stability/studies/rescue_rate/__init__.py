"""The rescue benchmark: the share of failing runs that a rescue repairs."""
