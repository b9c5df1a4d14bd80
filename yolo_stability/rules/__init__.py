"""One rule a file; see `rule.Rule`."""
