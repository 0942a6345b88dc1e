"""One file per source of recorded traffic, and what several of them read with."""
