"""DAgger's beta schedule: the probability that the teacher drives, by agent-steps of experience."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BetaSchedule:
    """Probability that the teacher drives an agent until its next plan.

    Falls in a straight line from 1 to 0 over `beta_steps` agent-steps and stays 0. The paper goes from 1 to 0
    over the first 125 M of 150 M steps; it does not give the shape of the ramp, so the line is our choice. Without
    `beta_steps` it stays 1: behaviour cloning.
    """

    beta_steps: int | None  # agent-steps until the student drives alone; None: the teacher always drives

    def __post_init__(self) -> None:
        if self.beta_steps is not None and self.beta_steps < 0:
            raise ValueError(
                f"beta_steps={self.beta_steps} must not be negative (0: the student always drives; null: never)"
            )

    def __call__(self, agent_steps: int) -> float:
        """Beta after so many agent-steps of experience."""
        if self.beta_steps is None:
            return 1.0
        if self.beta_steps == 0:
            return 0.0
        return max(0.0, 1.0 - agent_steps / self.beta_steps)
