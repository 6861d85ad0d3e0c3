"""Generated from ``protos/inferno/profile``."""
