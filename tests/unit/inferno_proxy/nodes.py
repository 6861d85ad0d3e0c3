"""Nodes and models for the control plane's tests."""

from __future__ import annotations

from typing import Any

from inferno_proxy.fleet import Address, Model, ModelState, ModelVersion, Node


def model(name: str = "m", state: ModelState = ModelState.READY, version: str = "1", **fields: Any) -> Model:
    """A model with one version."""
    reason = fields.pop("reason", "")
    return Model(name, versions=(ModelVersion(version, state, reason),), **fields)


def node(node_id: str = "a", incarnation: int = 1, port: int = 8001, **fields: Any) -> Node:
    """A node on loopback."""
    fields.setdefault("models", (model(),))
    return Node(node_id, incarnation, Address("127.0.0.1", port), **fields)
