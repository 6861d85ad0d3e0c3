"""Who is in the mesh: members, their leases, and what is remembered of them."""
