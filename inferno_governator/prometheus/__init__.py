"""Telemetry of fleets that a Prometheus server scrapes already: Triton, vLLM and the DCGM exporter."""
