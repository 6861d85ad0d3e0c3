"""Generated from ``protos/inferno/health/v1``."""
