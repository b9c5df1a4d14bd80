"""One clip a file; the file's name is what users write before the colon."""
