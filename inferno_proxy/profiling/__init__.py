"""Where a proxy's time and memory go, recorded while it serves."""
