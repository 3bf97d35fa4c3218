"""The engines: what trains a net. `base` says what the loop asks of one, `torch` and `numpy` answer;
`trained_layers` knows what of a torch net trains, rests or is frozen.
"""
