"""A student that sees images of the surrogate domain, for closed-loop evaluation of adaptation."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from adaptation.surrogate import shift_appearance
from student.network.policy import Plan, StudentPolicy
from student.observation import Observation


class SurrogateDriver(nn.Module):
    """Shifts the appearance of all images, see `adaptation.surrogate`, and applies the policy to them."""

    def __init__(self, policy: StudentPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Observation) -> Plan:
        """The plan of the policy for every agent of the batch."""
        images = observation.images
        shifted = shift_appearance(images.flatten(0, 1)).view_as(images)
        return self.policy(replace(observation, images=shifted))
