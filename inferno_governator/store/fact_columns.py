"""The columns in which the facts of a node are kept."""

from __future__ import annotations

# Columns and fields, in the order of the fields of Facts.
FIELDS = {
    "price_micros_per_hour": "price",
    "region": "region",
    "device": "device",
    "gpu_count": "gpu_count",
    "instance_type": "instance_type",
    "spot": "spot",
    "provider": "provider",
    "reported_micros_per_hour": "reported",
    "price_origin": "origin",
    "commitment": "commitment",
    "committed_micros_per_hour": "committed",
}
COLUMNS = tuple(FIELDS)
