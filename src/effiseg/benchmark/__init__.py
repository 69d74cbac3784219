"""Work and latency of a model."""
