"""Ablation studies: the same training with one thing changed, several seeds each, judged by what they drive like."""
