"""Judgement on what was measured: pure functions of values."""
