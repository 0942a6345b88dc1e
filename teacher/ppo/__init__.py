"""Self-play by PPO: environments, rollouts, losses, the update, and how it is spread over devices."""
