"""What the control plane answers over gRPC and HTTP."""
