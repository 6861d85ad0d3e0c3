"""Inferno's control plane: it turns registrations into configuration for Envoy and for proxyless gRPC clients."""
