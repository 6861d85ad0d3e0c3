"""Where nodes come from: agents that register, announcements, and the proxy's own list."""
