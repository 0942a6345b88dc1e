"""Ablation studies: trainings that differ in one setting, with several seeds each, compared by evaluation."""
