"""Says a text twice, and publishes how many words it read and wrote."""

import numpy as np
import triton_python_backend_utils as pb_utils


def _counter(name, args):
    family = pb_utils.MetricFamily(name=name, description="Tokens.", kind=pb_utils.MetricFamily.COUNTER)
    # The family must live as long as its counter.
    return family, family.Metric(labels={"model": args["model_name"], "version": args["model_version"]})


class TritonPythonModel:
    """A word is a token."""

    def initialize(self, args):
        """Publish the counters."""
        self._families, (self._read, self._written) = zip(
            *(_counter(name, args) for name in ("inferno_input_tokens_total", "inferno_output_tokens_total")),
            strict=True,
        )

    def execute(self, requests):
        """Count, and answer."""
        responses = []
        for request in requests:
            said = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()[0].decode()
            words = said.split()
            self._read.increment(len(words))
            self._written.increment(2 * len(words))
            answer = np.array([" ".join(words + words).encode()], dtype=object)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("text", answer)]))
        return responses
