"""Alerts: what was found, told once to whoever is to know, with its cause, until it is over."""
