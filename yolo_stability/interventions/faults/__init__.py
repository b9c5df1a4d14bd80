"""One fault a file; the file's name is what users write after `fault=`."""
