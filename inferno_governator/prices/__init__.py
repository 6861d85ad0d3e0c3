"""What nodes cost: offers of clouds, the rules that prices must pass, one's own terms, and which price a node has."""
