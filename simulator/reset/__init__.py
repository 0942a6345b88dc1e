"""Initial states of episodes: spawned on random routes, or taken from logs; and sets of maps with and without logs."""
