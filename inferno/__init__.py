"""Code generated from ``protos/inferno``; regenerate with ``nox -s protos``. Nothing here is written by hand."""
