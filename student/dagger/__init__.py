"""On-policy training data: closed-loop driving, the beta schedule, the replay buffer, the data module."""
