"""The ``inferno`` command line: every component and every operator's question under one name."""
