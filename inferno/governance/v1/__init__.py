"""Generated from ``protos/inferno/governance/v1``."""
