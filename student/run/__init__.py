"""The run folder of a Lightning trainer, for student and adaptation: command line, logs and checkpoints."""
