"""Finds the configuration with which a model does most within a latency objective, by trying it out."""
