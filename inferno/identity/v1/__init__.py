"""Generated from ``protos/inferno/identity/v1``."""
