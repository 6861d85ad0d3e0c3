"""Hypothetical deployments: what a trace would have cost on a fleet that nobody runs, and what its callers had seen."""
