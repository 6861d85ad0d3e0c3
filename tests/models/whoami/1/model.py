"""Tells which server answered: the process id of the Triton that owns this stub."""

import os
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Holds each request for ``hold_ms`` milliseconds and answers with the server's process id.

    It lets go of a cancelled request, unless ``hold_ms`` is below zero: then it holds as long, whoever waits.
    """

    def execute(self, requests):
        """One answer for each request."""
        answers = []
        for request in requests:
            hold = float(pb_utils.get_input_tensor_by_name(request, "hold_ms").as_numpy()[0])
            until = time.monotonic() + abs(hold) / 1000
            while (left := until - time.monotonic()) > 0 and (hold < 0 or not request.is_cancelled()):
                time.sleep(min(left, 0.02))
            who = np.array([str(os.getppid()).encode()], dtype=np.object_)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("server", who)]))
        return answers
