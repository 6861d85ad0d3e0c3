"""Which nodes to rent: the cheapest mix that serves a demand, where it lies, and what growth will need."""
