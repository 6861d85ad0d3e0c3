"""Takes 10 ms for an execution, however many requests it holds."""

import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Gives back what it gets."""

    def execute(self, requests):
        """One answer for each request, all after one sleep."""
        time.sleep(0.01)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(each, "x").as_numpy())])
            for each in requests
        ]
