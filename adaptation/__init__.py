"""Domain adaptation: real camera frames paired with renderings, and fine-tuning of the student's image encoder."""
