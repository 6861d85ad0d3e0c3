"""TLS in front of a Triton: an Envoy beside it that lets members of the mesh in and nobody else."""
