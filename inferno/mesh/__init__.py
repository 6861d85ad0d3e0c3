"""Generated from ``protos/inferno/mesh``."""
