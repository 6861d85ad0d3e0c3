"""The tests: a package with a file of its own, so that no installed package named tests stands before it."""
