"""Real camera frames: reading logs of them, calibrated rigs, ego motion."""
