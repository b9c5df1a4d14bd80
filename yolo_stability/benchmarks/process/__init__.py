"""The processes that run one arm each: worker, supervisor and fork server."""
