"""A running sum for each sequence."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Keeps sums by correlation id in this process: a sequence that changes servers loses its sum."""

    def initialize(self, args):
        """Start with no sequence."""
        self.sums = {}

    def execute(self, requests):
        """One answer for each request."""
        answers = []
        for request in requests:
            value = int(pb_utils.get_input_tensor_by_name(request, "value").as_numpy().ravel()[0])
            start = int(pb_utils.get_input_tensor_by_name(request, "START").as_numpy().ravel()[0])
            sequence = int(pb_utils.get_input_tensor_by_name(request, "CORRID").as_numpy().ravel()[0])
            # A sequence that is unknown and does not start here has lost its state: say so with a sum nobody expects.
            before = 0 if start else self.sums.get(sequence, -1_000_000)
            self.sums[sequence] = before + value
            who = np.array([[str(os.getppid()).encode()]], dtype=np.object_)
            total = np.array([[before + value]], dtype=np.int32)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("sum", total), pb_utils.Tensor("server", who)]))
        return answers
