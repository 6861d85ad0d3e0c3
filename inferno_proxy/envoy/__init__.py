"""Running and configuring Envoy itself."""
