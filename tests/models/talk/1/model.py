"""Answers one request many times, with pauses that the caller chooses."""

import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Sends one response after each pause, numbered from 0; the server takes the request for done meanwhile."""

    def execute(self, requests):
        """Responses go through each request's sender, later."""
        for request in requests:
            pauses = pb_utils.get_input_tensor_by_name(request, "pauses_ms").as_numpy()
            threading.Thread(target=self._talk, args=(request.get_response_sender(), pauses), daemon=True).start()

    def _talk(self, sender, pauses):
        for index, pause in enumerate(pauses):
            time.sleep(float(pause) / 1000)
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("index", np.array([index], dtype=np.int32))]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
