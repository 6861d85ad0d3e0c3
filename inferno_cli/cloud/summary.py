"""What ``inferno up`` prints when the mesh is open: for programs one JSON object, for people what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferno_cli import output
from inferno_cli.cloud.child import Child
from inferno_cli.cloud.components import Rank, Wanted
from inferno_cli.endpoint import DEFAULT
from inferno_cli.output import Column


def document(
    wanted: Wanted, children: Sequence[Child], governed: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The mesh as one JSON object: the public endpoint, and each component with its address and pid. ``governed`` has
    the facts of the nodes that the governator starts and stops, by name."""
    facts: dict[str, Mapping[str, Any]] = {child.component.name: child.facts.value or {} for child in children}
    facts |= governed or {}
    nodes = [child.component.name for child in children if child.component.rank is Rank.NODE] + list(governed or ())
    return {
        "endpoint": wanted.endpoint,
        "proxy": {"address": wanted.endpoint, **facts["proxy"]},
        "governator": facts["governator"],
        "nodes": [_node(name, facts[name]) for name in nodes],
        "data_dir": str(wanted.folder.path),
    }


def _node(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "address": facts.get("grpc", ""),
        "http_address": facts.get("http", ""),
        "pid": facts.get("pid"),
        "triton_pid": facts.get("triton_pid"),
        "page": facts.get("page", ""),
        "models": list(facts.get("models", ())),
    }


_COLUMNS = (
    Column("name", "COMPONENT"),
    Column("address", "ADDRESS"),
    Column("pid", "PID", right=True),
    Column("triton_pid", "TRITON", right=True),
    Column("models", "MODELS", show=lambda names: ",".join(names) if names else "-"),
)


def text(mesh: Mapping[str, Any], *, colours: bool) -> str:
    """The mesh for people: what listens where, and what to type next."""
    rows = [
        {"name": "proxy", **mesh["proxy"]},
        {"name": "governator", **mesh["governator"]},
        *({"name": node["id"], **node} for node in mesh["nodes"]),
    ]
    models = sorted({model for node in mesh["nodes"] for model in node["models"]})
    elsewhere = "" if mesh["endpoint"] == DEFAULT else f" --endpoint {mesh['endpoint']}"
    example = "filetype README.md" if "filetype" in models else f"{models[0] if models else 'MODEL'} FILE"
    return "\n".join(
        (
            f"Inferno serves on {mesh['endpoint']}: gRPC and REST, Open Inference Protocol.",
            "",
            output.table(_COLUMNS, rows, colours=colours),
            "",
            f"Data and logs: {mesh['data_dir']}",
            "Next:",
            f"  inferno infer {example}{elsewhere}",
            f"  inferno status{elsewhere}",
            f"  inferno cost{elsewhere}",
            f"  curl {mesh['endpoint']}/v2/models/{models[0] if models else 'MODEL'}",
            "Ctrl-C stops everything.",
        )
    )
