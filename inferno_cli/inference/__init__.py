"""Asking any model anything without code: values from the command line, checked against the model, and shown."""
