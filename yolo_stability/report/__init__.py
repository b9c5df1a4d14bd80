"""Finished numbers to pictures and tables; nothing here computes."""
