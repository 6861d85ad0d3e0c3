"""What this node can do: its hardware, and each model's throughput and latency; measured, kept, compared and sent."""
