"""What a privileged driver observes: ego, goals, agents and roads around it, in its own frame."""
