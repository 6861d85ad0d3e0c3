"""Policies of others, as they describe them: what ours are held against. None of them acts on a live fleet."""
