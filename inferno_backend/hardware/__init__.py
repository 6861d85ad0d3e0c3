"""What the node runs on, how busy that is, and what is wrong with it."""
