"""What a proxy measures of itself, on one page for Prometheus: the control plane's figures and those of its Envoys."""
