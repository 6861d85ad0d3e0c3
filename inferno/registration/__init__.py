"""Generated from ``protos/inferno/registration``."""
