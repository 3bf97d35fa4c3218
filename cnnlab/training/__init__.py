"""Training: `prepare` gets ready, `loop` begins or goes on, `run` runs, `engines` compute,
`run_folder` and `checkpoint` keep, `torchrun` says which process of several this is.

Nothing is imported here: `run_folder` and `checkpoint` serve commands that never need torch.
"""
