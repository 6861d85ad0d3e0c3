"""Triton's Prometheus page, as counters for each model version.

Names and meanings: Triton's docs/user_guide/metrics.md. ``nv_inference_pending_request_count`` is the queue gauge:
requests that have arrived and have not begun to execute.

Triton itself counts no tokens; backends do, under names of their own (docs/usage.md): vLLM's as vLLM itself does,
TensorRT-LLM's as the sums of two histograms, and any Python model as :data:`INPUT_TOKENS` and :data:`OUTPUT_TOKENS`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import Unavailable

# A model's name and version.
Key = tuple[str, str]

# What a model publishes of its tokens, with labels ``model`` and ``version``.
INPUT_TOKENS, OUTPUT_TOKENS = "inferno_input_tokens_total", "inferno_output_tokens_total"
_SAID = re.compile(r"([^}]*)\} ([0-9.eE+-]+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MAX_PAGE = 16 * 1024 * 1024
# A model publishes what it likes; the governator takes no larger count, and would leave the whole sample out.
_MOST_TOKENS = 2**48


@dataclass(frozen=True, slots=True)
class Counters:
    """What a model version has done since its server started, and how many requests wait now. Times in microseconds.

    Tokens are zero where nobody counts them. Whether their counters go on when a model is loaded anew is their
    backend's to decide, so they are judged apart from the others.
    """

    success: int = 0
    failure: int = 0
    inferences: int = 0
    executions: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    compute_micros: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    pending: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """The fields in order; ``pending`` is the last."""
        return (
            self.success,
            self.failure,
            self.inferences,
            self.executions,
            self.request_micros,
            self.queue_micros,
            self.compute_micros,
            self.input_tokens,
            self.output_tokens,
            self.pending,
        )

    def since(self, earlier: Counters) -> Counters:
        """What was done after ``earlier``; ``pending`` is the one of now.

        A counter that fell belongs to a server that started again: all of it is new.

        >>> Counters(success=7, pending=2).since(Counters(success=5, pending=9))
        Counters(success=2, failure=0, inferences=0, executions=0, request_micros=0, queue_micros=0, ...pending=2)
        >>> Counters(success=3).since(Counters(success=5)).success
        3
        >>> again = Counters(success=9, output_tokens=4).since(Counters(success=5, output_tokens=90))
        >>> again.success, again.output_tokens
        (4, 4)
        """
        if self.fell(earlier):
            return self
        if self.tokens_fell(earlier):
            earlier = earlier.without_tokens()
        return Counters(
            self.success - earlier.success,
            self.failure - earlier.failure,
            self.inferences - earlier.inferences,
            self.executions - earlier.executions,
            self.request_micros - earlier.request_micros,
            self.queue_micros - earlier.queue_micros,
            self.compute_micros - earlier.compute_micros,
            self.input_tokens - earlier.input_tokens,
            self.output_tokens - earlier.output_tokens,
            self.pending,
        )

    def fell(self, earlier: Counters) -> bool:
        """True when some counter is less than it was: another server counts. ``pending`` may fall.

        Written out, as :meth:`since`: telemetry asks it of every model version in every reading.
        """
        return (
            self.success < earlier.success
            or self.failure < earlier.failure
            or self.inferences < earlier.inferences
            or self.executions < earlier.executions
            or self.request_micros < earlier.request_micros
            or self.queue_micros < earlier.queue_micros
            or self.compute_micros < earlier.compute_micros
        )

    def tokens_fell(self, earlier: Counters) -> bool:
        """True when the tokens alone count anew: the model's processes were replaced."""
        return self.input_tokens < earlier.input_tokens or self.output_tokens < earlier.output_tokens

    def without_tokens(self) -> Counters:
        """The same with no tokens counted."""
        return replace(self, input_tokens=0, output_tokens=0)

    def tokens(self) -> Counters:
        """Nothing but the tokens."""
        return Counters(input_tokens=self.input_tokens, output_tokens=self.output_tokens)


_ADDERS: Mapping[str, Callable[[Counters, int], Counters]] = {
    "nv_inference_request_success": lambda c, n: replace(c, success=c.success + n),
    # One line for each reason: OTHER, BACKEND, CANCELED, REJECTED.
    "nv_inference_request_failure": lambda c, n: replace(c, failure=c.failure + n),
    "nv_inference_count": lambda c, n: replace(c, inferences=c.inferences + n),
    "nv_inference_exec_count": lambda c, n: replace(c, executions=c.executions + n),
    "nv_inference_request_duration_us": lambda c, n: replace(c, request_micros=c.request_micros + n),
    "nv_inference_queue_duration_us": lambda c, n: replace(c, queue_micros=c.queue_micros + n),
    "nv_inference_compute_input_duration_us": lambda c, n: replace(c, compute_micros=c.compute_micros + n),
    "nv_inference_compute_infer_duration_us": lambda c, n: replace(c, compute_micros=c.compute_micros + n),
    "nv_inference_compute_output_duration_us": lambda c, n: replace(c, compute_micros=c.compute_micros + n),
    "nv_inference_pending_request_count": lambda c, n: replace(c, pending=c.pending + n),
}
_TOKENS: Mapping[str, Callable[[Counters, int], Counters]] = {
    name: adder
    for names, adder in (
        (
            (INPUT_TOKENS, "vllm:prompt_tokens_total", "nv_llm_input_token_len_sum"),
            lambda c, n: replace(c, input_tokens=c.input_tokens + n),
        ),
        (
            (OUTPUT_TOKENS, "vllm:generation_tokens_total", "nv_llm_output_token_len_sum"),
            lambda c, n: replace(c, output_tokens=c.output_tokens + n),
        ),
    )
    for name in names
}


def parse(page: str) -> dict[Key, Counters]:
    """Read the page; on a server with several GPUs a version's lines are added up, as are those of a model's instances.

    Tokens of a version that Triton itself does not count, and numbers that no counter of tokens has, are left out.

    >>> parse('nv_inference_pending_request_count{model="m",version="1"} 3')[("m", "1")].pending
    3
    """
    found: dict[Key, Counters] = {}
    tokens: list[tuple[str, str, str]] = []
    for line in page.splitlines():
        name, _, said = line.partition("{")
        adder = _ADDERS.get(name)
        match = _SAID.match(said) if adder or name in _TOKENS else None
        if match is None:
            continue
        if adder is None:
            tokens.append((name, match[1], match[2]))
            continue
        key = _key(match[1])
        found[key] = adder(found.get(key, Counters()), int(float(match[2])))
    for name, labels, value in tokens:
        key, count = _key(labels), float(value)
        if key in found and 0 <= count < _MOST_TOKENS:
            found[key] = _TOKENS[name](found[key], int(count))
    return found


def _key(labels: str) -> Key:
    said = dict(_LABEL.findall(labels))
    return said.get("model", ""), said.get("version", "")


async def fetch(address: str, timeout: float, path: str = "/metrics") -> str:
    """GET a page from ``host:port`` within ``timeout`` seconds.

    Raises:
        Unavailable: No answer in time, or none with status 200.
    """
    host, port = parse_address(address)
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port, limit=_MAX_PAGE)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{address}{path} does not answer: {error}.", reason="NO_PAGE") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        raise Unavailable(f"{address}{path} answered {head[:60]!r}.", reason="NO_PAGE")
    return body.decode(errors="replace")
