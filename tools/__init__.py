"""Programs for working on Inferno, run by nox; no part of the product."""
