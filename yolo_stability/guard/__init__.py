"""Safety net: decides whether an optimizer step may be applied, and undoes a skipped one."""
