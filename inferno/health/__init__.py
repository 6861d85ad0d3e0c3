"""Generated from ``protos/inferno/health``."""
