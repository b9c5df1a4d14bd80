"""Everything that touches Ultralytics; no other folder imports it."""
