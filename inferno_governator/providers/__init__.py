"""Who starts and stops machines: one protocol, and a module for each that follows it."""
