"""Divides what it gets."""

import pathlib

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers x divided by the number in the file ``divisor``."""

    def initialize(self, args):
        """Read the file, as weights are read."""
        self.divisor = np.float32(pathlib.Path(__file__).with_name("divisor").read_text())

    def execute(self, requests):
        """One answer for each request."""
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x / self.divisor)]) for x in inputs]
