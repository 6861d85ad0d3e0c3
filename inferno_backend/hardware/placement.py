"""Which models a GPU that can do no work takes along. Pure.

Sources: Triton's model configuration (instance_group: the kinds, and ``gpus``, which are numbers of CUDA devices) and
CUDA's programming guide, "CUDA Environment Variables" (CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inferno_backend.node import Gpu, Model


def numbered(gpus: Sequence[Gpu], env: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs' UUIDs as a Triton of ours with this environment numbers them.

    With CUDA_DEVICE_ORDER=PCI_BUS_ID, which the agent sets, CUDA's order is NVML's. From the first number, or begin of
    a UUID, that names no GPU, CUDA sees no more of them.
    """
    chosen = env.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return tuple(gpu.uuid for gpu in gpus)
    found: list[str] = []
    for word in chosen.split(","):
        uuid = _named(word.strip(), gpus)
        if not uuid:
            break
        found.append(uuid)
    return tuple(found)


def _named(word: str, gpus: Sequence[Gpu]) -> str:
    """The UUID of the GPU that a word names, itself or by one of its parts; empty for none."""
    if word.isdigit():
        return gpus[int(word)].uuid if int(word) < len(gpus) else ""
    if not word.startswith(("GPU-", "MIG-")):
        return ""
    matching = [gpu.uuid for gpu in gpus if any(name.startswith(word) for name in _names(gpu))]
    return matching[0] if len(matching) == 1 else ""


def _names(gpu: Gpu) -> list[str]:
    return [gpu.uuid, *(part.uuid for part in gpu.mig_instances)]


def taken_out(models: Sequence[Model], gpus: Sequence[str], faulty: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """What GPUs that can do no work take out: the node, with the reason (empty: not the node), and models with theirs.

    A model is out when every GPU that its instances are on is, or, for an ensemble, when one of its steps is. A model
    whose backend chooses its GPUs itself is out with the last of them. The node is out when all of its GPUs are and a
    model needs one, or when no model is left that can serve. Models that run on CPUs only are never concerned.

    Args:
        models: The node's models.
        gpus: UUIDs of the GPUs Triton sees, in its order.
        faulty: Reasons of the GPUs that can do no work, by UUID.
    """
    reasons = [faulty[uuid] for uuid in gpus if uuid in faulty]
    if not reasons:
        return "", {}
    out: dict[str, str] = {}
    for model in models:
        needed = gpus if model.placement.any_gpu else [gpus[one] for one in model.placement.gpus if one < len(gpus)]
        if needed and all(uuid in faulty for uuid in needed):
            out[model.name] = faulty[needed[0]]
    _add_ensembles(models, out)
    left = any(model.ready and model.name not in out for model in models)
    if out and (len(reasons) == len(gpus) or not left):
        more = len(reasons) - 1
        return reasons[0] + (f" {more} more of its GPUs can do no work." if more else ""), out
    return "", out


def _add_ensembles(models: Sequence[Model], out: dict[str, str]) -> None:
    """Add what is made of models that are out; ensembles may be steps of ensembles."""
    grown = True
    while grown:
        grown = False
        for model in models:
            step = next((one for one in model.placement.steps if one in out), None)
            if step is not None and model.name not in out:
                out[model.name] = f"Its step {step!r} is out. {out[step]}"
                grown = True
