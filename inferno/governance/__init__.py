"""Generated from ``protos/inferno/governance``."""
