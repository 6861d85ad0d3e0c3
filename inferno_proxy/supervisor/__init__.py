"""The parent of the control plane and of the Envoys, and what they hand to each other."""
