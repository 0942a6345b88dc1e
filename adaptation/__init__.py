"""Real cameras: paired renderings of real frames, and fine-tuning the student's eyes on them (torch + Lightning)."""
