"""Watching: objectives and how fast their error budgets burn, spend that is out of the ordinary, sick nodes."""
