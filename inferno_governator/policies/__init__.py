"""Which nodes to start and to stop, and why: one module a policy, the guards, and the order they speak in. Pure."""
