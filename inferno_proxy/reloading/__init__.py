"""Settings that change while the proxy runs: tried first, taken whole, held back when an Envoy refuses them."""
