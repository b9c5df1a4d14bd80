"""The command line: argv to one API call to an exit code."""
