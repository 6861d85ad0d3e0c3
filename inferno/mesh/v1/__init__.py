"""Generated from ``protos/inferno/mesh/v1``."""
