"""Answers one request many times."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Sends ``count`` responses, numbered from 0."""

    def execute(self, requests):
        """Responses go through each request's sender."""
        for request in requests:
            count = int(pb_utils.get_input_tensor_by_name(request, "count").as_numpy()[0])
            pause = pb_utils.get_input_tensor_by_name(request, "pause_ms")
            seconds = 0.0 if pause is None else float(pause.as_numpy()[0]) / 1000
            sender = request.get_response_sender()
            for index in range(count):
                time.sleep(seconds)
                tensor = pb_utils.Tensor("index", np.array([index], dtype=np.int32))
                sender.send(pb_utils.InferenceResponse([tensor]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
