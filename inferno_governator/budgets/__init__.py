"""Budgets: what may be spent by whom in a period, what was spent of it, and which one binds."""
