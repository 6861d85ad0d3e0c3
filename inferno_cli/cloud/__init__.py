"""A whole mesh on one machine: the processes of ``inferno up`` and their one parent."""
