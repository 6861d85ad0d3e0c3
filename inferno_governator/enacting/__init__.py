"""Carries decisions out: intents on disk, fresh facts, drains, the provider's call, the outcome."""
