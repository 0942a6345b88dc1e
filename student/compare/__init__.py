"""Comparisons of students: trainings that differ in method or setting, with several seeds, at equal experience."""
