"""From a plan to snapshots that are whole, versioned and in step."""
