"""Training: the loop, its progress and history, checkpoints, and files of weights."""
