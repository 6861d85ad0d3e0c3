"""The governator: takes telemetry in, keeps it, and says what each node and model did and cost."""
