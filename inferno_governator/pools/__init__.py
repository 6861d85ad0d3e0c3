"""Pools: nodes of one kind that a provider can start and stop."""
