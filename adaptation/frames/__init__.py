"""Real camera frames: logs of them, calibration, ego motion."""
