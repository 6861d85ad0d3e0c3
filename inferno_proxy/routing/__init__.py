"""From the fleet and the settings to a plan: which calls go to which nodes, and how they are treated."""
