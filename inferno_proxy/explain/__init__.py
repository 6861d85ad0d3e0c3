"""Why calls go where they go: said from the plan and the figures that decided it."""
