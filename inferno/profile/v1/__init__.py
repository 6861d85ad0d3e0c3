"""Generated from ``protos/inferno/profile/v1``."""
