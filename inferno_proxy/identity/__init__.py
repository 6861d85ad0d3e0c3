"""Who calls the control plane, and what each may do."""
