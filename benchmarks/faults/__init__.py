"""The faults Inferno promises to survive, each as something that is done to a running cloud under load.

A scenario does one thing to one cloud, waits until the cloud has recovered, and returns what the load and the mesh saw.
It judges nothing: the end-to-end tests and the fault table (:mod:`benchmarks.chaos`) do. Rows are numbered as in
``docs/faults.md``.
"""

from __future__ import annotations

from benchmarks.faults import rows_of_nodes, rows_of_the_governator, rows_of_the_proxy
from benchmarks.faults.fault import Fault

FAULTS: tuple[Fault, ...] = tuple(
    sorted((*rows_of_nodes.ROWS, *rows_of_the_proxy.ROWS, *rows_of_the_governator.ROWS), key=lambda fault: fault.row)
)
