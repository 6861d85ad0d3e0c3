"""Demand a boot time ahead: what is expected, how wrong each way of expecting was, and why one was chosen. Pure."""
