"""The engines: what trains a net. `base` says what the loop asks of one, `torch` and `numpy` answer."""
