"""Generated from ``protos/inferno/registration/v1``."""
