"""How vehicles move: the kinematic bicycle, action models on top of it, and logged tracks as actions."""
