"""Rules of the road and the figures made of them: one owner, used by every stage.

`stop_rules` runs in every step. What costs more (`fault`, `time_to_collision`, `lane_use` and `comfort`, gathered in
`conduct`) runs where `SimulatorConfig.detailed_metrics` asks for it. `figures` turns final states into numbers.
"""

from simulator.infractions.figures import Metrics, agent_figures, driving_scores, route_progress, summarise

__all__ = ["Metrics", "agent_figures", "driving_scores", "route_progress", "summarise"]
