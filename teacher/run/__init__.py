"""A training run from start to finish: loop, checkpoints, run folder, learning curves."""
