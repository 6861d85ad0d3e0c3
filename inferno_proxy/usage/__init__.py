"""Who asked what of which node: read from Envoy's counters and handed to the governator, each request once."""
