"""First states of episodes: random routes in towns, recorded scenes, and sets of both."""
