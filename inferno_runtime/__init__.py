"""Plumbing every Inferno process needs. It knows no node, model or price."""
