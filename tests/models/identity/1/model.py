"""Gives back what it gets."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Returns every input it got, under its own name."""

    def execute(self, requests):
        """One answer for each request."""
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(one.name(), one.as_numpy()) for one in request.inputs()])
            for request in requests
        ]
