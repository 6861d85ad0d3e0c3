"""Generated from ``protos/inferno/identity``."""
