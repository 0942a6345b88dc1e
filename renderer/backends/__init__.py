"""How pictures are computed: the reference that defines them, and three backends held to it."""
