"""A prompt in, its answer out piece by piece: SmolLM2 through llama.cpp. Run by Triton's Python backend."""

import json
import os
import secrets
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

_CONTEXT = 2048
_MOST_TOKENS = 256
# The model's own turns. The system turn that its template puts before them is left out: with 4-bit weights the model
# then knows no longer that the capital of France is Paris.
_TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
_MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


class TritonPythonModel:
    """Triton's interface to a model."""

    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        sys.path.insert(0, str(folder / "packages"))
        import xllamacpp

        threads = _threads(json.loads(args["model_config"]))
        params = xllamacpp.CommonParams()
        params.model.path = str(folder / "weights.gguf")
        params.n_ctx = _CONTEXT
        params.n_parallel = 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        # The library opens a port on loopback of its own accord: nobody but us knows the key.
        params.api_keys = [secrets.token_urlsafe(32)]
        self._server = xllamacpp.Server(params)
        labels = {"model": args["model_name"], "version": args["model_version"]}
        # A family must live as long as its metrics.
        self._families = [_family("input", "read"), _family("output", "written")]
        self._read, self._written = (family.Metric(labels=labels) for family in self._families)

    def execute(self, requests):
        """Answers go through each request's sender, one request after the other."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._answer(request, sender)
            except Exception as error:
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _answer(self, request, sender):
        prompt = _value(request, "prompt", b"").decode()
        for mark in _MARKS:
            prompt = prompt.replace(mark, "")
        wanted = {
            "prompt": _TURN.format(prompt),
            "max_tokens": min(int(_value(request, "max_tokens", _MOST_TOKENS)), _CONTEXT),
            "temperature": float(_value(request, "temperature", 0.0)),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        failed = []
        usage = {}

        def take(chunk):
            """One piece; True ends the answer, which nobody waits for any more."""
            if "error" in chunk:
                failed.append(chunk["error"])
                return True
            usage.update(chunk.get("usage") or {})
            piece = "".join(each.get("text") or "" for each in chunk.get("choices", ()))
            if piece:
                text = pb_utils.Tensor("text", np.array([piece.encode()], dtype=object))
                sender.send(pb_utils.InferenceResponse([text]))
            return sender.is_cancelled()

        self._server.handle_completions(wanted, take)
        self._read.increment(usage.get("prompt_tokens", 0))
        self._written.increment(usage.get("completion_tokens", 0))
        if failed:
            raise ValueError(str(failed[0].get("message", failed[0])))


def _family(direction, done):
    """Tokens, under the name that Inferno looks for."""
    return pb_utils.MetricFamily(
        name=f"inferno_{direction}_tokens_total", description=f"Tokens {done}.", kind=pb_utils.MetricFamily.COUNTER
    )


def _value(request, name, default):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else tensor.as_numpy().ravel()[0]


def _threads(config):
    """Threads of one instance. With one for every core, llama.cpp's threads wait for each other while Triton's own take
    turns with them: two on two cores gave 2 tokens a second instead of 140."""
    instances = max(1, sum(group.get("count", 1) for group in config["instance_group"]))
    return max(1, max(1, len(os.sched_getaffinity(0)) - 1) // instances)
