"""Measurements: each prints a table and writes it under results/."""
