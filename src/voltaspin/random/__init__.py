"""All simulated chance of the hardware: streams of uniform words by (seed, stream, step)."""
