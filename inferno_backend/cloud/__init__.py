"""What a cloud's metadata service says of the machine the node runs on, and of its end."""
