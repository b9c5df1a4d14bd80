"""The command line: parses argv, makes one API call, returns an exit code."""
