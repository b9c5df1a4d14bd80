"""One run's picture, table and text."""
