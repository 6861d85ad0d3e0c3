"""What is decided about nodes, as values: what is known of the fleet, what is proposed, and what came of it."""
