"""The teacher: a privileged driver trained by self-play PPO, in JAX."""
