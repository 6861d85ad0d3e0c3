"""Switches Triton's response cache on for models that the operator declares deterministic, after an audit.

A model is audited while no cache is in the way, and before the mesh sends it anything: sample requests are executed
twice and must have the same answers to the last bit. Then it is loaded again with the cache. Triton forgets no answer
when a model is loaded again, not even one of other weights (measured, docs/decisions/0045), so within one life of
Triton the cache is only ever switched on over the files that were there the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from inferno_backend.cache_audit import Tensor, difference, objection, samples
from inferno_backend.node import Model
from inferno_backend.triton.client import TritonClient
from inferno_runtime import logs
from inferno_runtime.errors import InfernoError

_LOG = logs.get("response-cache")


class ResponseCache:
    """The cache of one node: ``declared`` are the models it is for, by name, in the model repository ``folder``."""

    def __init__(self, declared: Iterable[str], folder: Path) -> None:
        self._declared = frozenset(declared)
        self._folder = folder
        # Files over which the cache was first switched on in this life of Triton; None: nobody knows.
        self._files: dict[str, str | None] = {}

    async def begin(self, client: TritonClient, models: Iterable[Model], *, fresh: bool) -> Mapping[str, str]:
        """Take care of every model of a new life of Triton; why some of those declared are not cached, by name.

        Args:
            client: The new life.
            models: Its models.
            fresh: It has served nobody yet. One that has is left as a former agent made it.
        """
        self._files = {} if fresh else dict.fromkeys(self._declared)
        ready = sorted(model.name for model in models if model.ready and model.name in self._declared)
        if not fresh:
            return {}
        return {name: reason for name in ready if (reason := await self.switch_on(client, name))}

    async def switch_on(self, client: TritonClient, name: str) -> str:
        """Audit a loaded model and switch its cache on; why not, or empty."""
        if name not in self._declared:
            return ""
        try:
            reason = await self._audited(client, name)
        except InfernoError as error:
            reason = f"It could not be audited: {error.message}"
        if reason:
            _LOG.error("a model's answers are not cached", model=name, reason=reason)
            return f"Not cached. {reason}"
        _LOG.info("a model's answers are cached", model=name)
        return ""

    async def _audited(self, client: TritonClient, name: str) -> str:
        if await client.cached(name):  # its own configuration says so
            await client.load(name, cached=False)
        files = await asyncio.to_thread(fingerprint, self._folder / name)
        if self._files.get(name, files) != files:
            return (
                "Triton may still hold answers of other files of this model; it is cached again after Triton's start."
            )
        model, interface = await client.config(name), await client.interface(name)
        if reason := objection(model, interface):
            return reason
        answers: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = []
        refusal = ""
        for number, sample in enumerate(samples(model, interface), 1):
            try:
                first, second = await client.infer(name, sample), await client.infer(name, sample)
            except InfernoError as error:
                refusal = error.message
                continue
            if differs := difference(first, second):
                return f"Two executions of sample {number} differ: {differs}."
            answers.append((sample, first))
        if not answers:
            return f"It executes no sample: {refusal}"
        self._files[name] = files
        await client.load(name, cached=True)
        for sample, computed in answers:
            kept = [await client.infer(name, sample) for _ in range(2)]
            if any(difference(computed, each) for each in kept):
                await client.load(name, cached=False)
                return "With the cache its answers are others than without."
        return ""


def fingerprint(folder: Path) -> str:
    """Names the content of a model's folder by the names, sizes and times of change of its files."""
    found = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            status = file.stat()
            found.update(f"{file.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return found.hexdigest()
