"""Proposals judged by the simulator: which, that nothing else changes, that a scorer learns from them, resuming."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from student.batch import Batch, Label
from student.dagger.closed_loop import ClosedLoopConfig, Episode
from student.dagger.data import OnPolicyData
from student.dagger.judging import JudgingConfig, choice_scores, judge_some, proposals_to_judge
from student.dagger.replay_buffer import ReplayBuffer
from student.losses import LossConfig, scoring_loss
from student.network.encoder_config import EncoderConfig
from student.network.plan import Plan
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.observation import Observation
from student.sub_scores import SUB_SCORES, JudgedProposals, proposal_score, selection_score
from student.trajectory import Trajectory
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld

WORLD = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)
PROPOSALS, PLACES = 4, 12  # of everything here, so that one compiled function serves all
POLICY = PolicyConfig(
    EncoderConfig(features=16, channels=(8,)),
    PlannerConfig("proposals", 16, 1, proposals=PROPOSALS, head_hidden=32, dropout=0.0, drop_path=0.0),
    4,
    27,
    48,
)
SECONDS = torch.arange(1, 9) / 2


class Planned(StudentPolicy):
    """Proposes to swerve off the road, to stand, to reverse and to drive on at the present speed, and chooses one."""

    def __init__(self, choice: int) -> None:
        super().__init__(POLICY)
        self.choice = choice

    def forward(self, observation: Observation) -> Plan:
        """The plan of each agent."""
        proposals = scripted(10.0 * observation.ego[:, 0])
        choice = torch.full((len(proposals),), self.choice)
        scores = torch.zeros(*proposals.shape[:2], len(SUB_SCORES))
        chosen = Trajectory(proposals[:, self.choice])
        actions = torch.zeros(len(proposals), 12)
        return Plan(chosen, actions, torch.zeros(len(proposals), 4, 1), proposals, scores, choice)


def scripted(speed_mps: Tensor) -> Tensor:
    """Trajectories [batch, 4, poses, 3]: 12 m to the left while 12 m ahead, standing, 4 m back, straight on."""
    proposals = torch.zeros(len(speed_mps), PROPOSALS, 8, 3)
    proposals[:, 0, :, :2] = 3.0 * SECONDS[:, None]
    proposals[:, 0, :, 2] = torch.pi / 4
    proposals[:, 2, :, 0] = -SECONDS
    proposals[:, 3, :, 0] = speed_mps[:, None] * SECONDS
    return proposals


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    return PixelWorld(WORLD)


@pytest.fixture
def driving(world: PixelWorld) -> PixelWorld:
    """The worlds after agents have followed the teacher's plans for 3 s, so that most of them move."""
    world.reset(3)
    for _ in range(6):
        world.follow(world.label().trajectory)
    return world


def make_data(world: PixelWorld) -> OnPolicyData:
    """Training data whose worlds are ``world``, at a time when the student drives everyone."""
    judging = JudgingConfig(PROPOSALS, PLACES)
    data = OnPolicyData(WORLD, beta_steps=1, decisions_per_epoch=3, batch_size=8, judging=judging)
    data.agent_steps = 1
    data.world, data.buffer = world, ReplayBuffer(64)
    world.reset(5)
    return data


def test_the_teachers_label_is_good_and_leaving_the_road_standing_and_reversing_are_not(
    driving: PixelWorld,
) -> None:
    label = driving.label()
    rows = (label.valid & (label.trajectory.poses[:, -1, 0] > 8.0)).nonzero()[:, 0]
    assert len(rows) >= 4
    candidates = scripted(torch.zeros(len(rows)))
    candidates[:, 3] = label.trajectory.poses[rows]
    judged = driving.judge(rows, candidates, PLACES)
    judged.validate()
    score = dict(zip(SUB_SCORES, judged.sub_scores.unbind(-1)))
    for name in ("no_collision", "direction"):
        assert (score[name][:, 3] == 1.0).all(), name
    for name in (
        "drivable_area",
        "time_to_collision",
        "comfort",
    ):  # it is tracked with errors of some centimetres
        assert score[name][:, 3].mean() > 0.75, name
    assert score["progress"][:, 3].mean() > 0.95
    assert score["drivable_area"][:, 0].mean() < 0.3, "some can turn left into a side road"
    assert score["progress"][:, 1:3].mean() < 0.3, "it takes some metres to stop"
    good = proposal_score(judged)
    assert (good[:, 3] > good[:, :3].amax(1) - 1e-6).float().mean() > 0.8


def test_each_is_judged_by_itself_and_the_worlds_stay_as_they_are(driving: PixelWorld) -> None:
    """A subset in another order gets the sub-scores that it has among all, and the next label is the same."""
    state, speed = driving.state, torch.full((len(driving.ego_agents),), 6.0)
    everyone = torch.arange(len(speed))
    together = driving.judge(everyone, scripted(speed), PLACES)
    rows = everyone.flip(0)[:3]
    alone = driving.judge(rows, scripted(speed[:3]), PLACES)
    assert torch.equal(alone.sub_scores, together.sub_scores[rows])
    assert driving.state is state
    with pytest.raises(ValueError, match="value that is not finite"):
        driving.judge(rows, scripted(torch.full((3,), torch.nan)), PLACES)


def test_the_chosen_proposal_and_others_at_random_of_some_eligible_agents(driving: PixelWorld) -> None:
    plan = Planned(2)(driving.observe())
    some = replace(plan, choice=torch.arange(len(plan)) % PROPOSALS)
    first = proposals_to_judge(some, 3, torch.Generator().manual_seed(0))
    assert torch.equal(first[:, 0], plan.proposals[torch.arange(len(plan)), some.choice])
    assert all(len(row.flatten(1).unique(dim=0)) == 3 for row in first)
    eligible = torch.arange(len(plan)) != 1
    config = JudgingConfig(PROPOSALS, PLACES)
    judged = judge_some(driving, plan, eligible, config, torch.Generator().manual_seed(0))
    assert torch.equal(judged.sub_scores_valid.flatten(1).any(1), eligible)
    values = plan.proposals[:, 2].flatten(1)
    assert torch.equal(judged.candidates[:, 0].flatten(1), values)


def test_the_choice_is_compared_with_what_else_was_proposed(driving: PixelWorld) -> None:
    plan = Planned(3)(driving.observe())
    scores = choice_scores(driving, plan, PLACES, torch.Generator().manual_seed(0))
    assert len(scores["score_chosen"]) == len(plan)
    assert (scores["score_best"] >= scores["score_mean"]).all()
    assert scores["score_chosen"].mean() > scores["score_mean"].mean() + 0.1
    assert scores["score_chosen"].mean() > scores["score_first"].mean() + 0.2
    worst = choice_scores(driving, Planned(0)(driving.observe()), PLACES, torch.Generator().manual_seed(0))
    assert torch.equal(worst["score_chosen"], scores["score_first"])
    assert torch.equal(worst["score_best"], scores["score_best"])


def test_a_closed_loop_evaluation_says_how_good_the_choice_is(world: PixelWorld) -> None:
    config = ClosedLoopConfig(WORLD.maps, 2, seconds=1.0, label_every=1, judged_agents=PLACES)
    metrics = Episode(world, config).drive(Planned(3))
    assert 0 <= metrics["score_first"] <= metrics["score_best"] <= 1
    assert metrics["score_first"] < metrics["score_chosen"]
    again = Episode(world, replace(config, judged_agents=0)).drive(Planned(3))
    assert not any(name.startswith("score_") for name in again)
    assert {name: value for name, value in again.items() if name != "wall_s"} == {
        name: metrics[name] for name in again if name != "wall_s"
    }, "judging changes no other figure"


def test_a_scorer_learns_from_what_was_collected_to_choose_better(
    world: PixelWorld, torch_seed: None
) -> None:
    """Its choice among the judged proposals of a fixed buffer, which are scripted: most of the way to the best."""
    data, policy = make_data(world), StudentPolicy(POLICY)
    for _ in range(2):
        data.collect(Planned(3))
    batch = data.buffer.get(torch.arange(len(data.buffer)))
    batch = batch[batch.judged.sub_scores_valid.flatten(1).any(1)]
    assert len(batch) > 30
    good = proposal_score(batch.judged)

    def chosen() -> float:
        with torch.no_grad():
            choice = selection_score(logits_of(policy, batch), "navsim_v2").argmax(1)
        return float(good[torch.arange(len(good)), choice].mean())

    optimiser = torch.optim.Adam(policy.planner.scorer.parameters(), lr=1e-2)
    for _ in range(150):
        loss = scoring_loss(logits_of(policy, batch), batch.judged, batch.weight, LossConfig())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    mean, best = float(good.mean()), float(good.amax(1).mean())
    assert best > mean + 0.2
    assert chosen() > mean + 0.8 * (best - mean)


def logits_of(policy: StudentPolicy, batch: Batch) -> Tensor:
    """Predicted sub-scores of the judged proposals of a batch."""
    tokens = policy.perception(batch.observation.images, batch.observation.camera_mask)
    return policy.planner.score(tokens.detach(), batch.observation, batch.judged.candidates)


def test_collection_continues_exactly_where_a_state_was_saved(world: PixelWorld, torch_seed: None) -> None:
    """Worlds, buffer with judged proposals and generator; a policy without a scorer judges none."""
    policy = StudentPolicy(POLICY)
    data = make_data(world)
    data.collect(policy)
    state = data.state_dict()
    data.collect(policy)
    expected = data.draw()
    assert expected.judged is not None
    again = make_data(world)
    again.load_state_dict(state)
    again.collect(policy)
    for name, value in again.draw().tensors().items():
        assert torch.equal(value, expected.tensors()[name]), name
    plain = make_data(world)
    plain.collect(StudentPolicy(replace(POLICY, planner=PlannerConfig(hidden=32, layers=1))))
    assert plain.draw().judged is None


def test_a_buffer_from_before_proposals_were_judged_goes_on(make_observation) -> None:
    label = Label(Trajectory(torch.zeros(3, 8, 3)), torch.ones(3) > 0, torch.zeros(3, dtype=torch.int64))
    old, buffer = ReplayBuffer(5), ReplayBuffer(5)
    old.add(Batch(make_observation(3), label, torch.ones(3)))
    buffer.load_state_dict(old.state_dict())
    values = torch.ones(3, 2, len(SUB_SCORES))
    judged = JudgedProposals(torch.ones(3, 2, 8, 3), values, values > 0)
    buffer.add(Batch(make_observation(3), label, torch.ones(3), judged))
    held = buffer.get(torch.arange(5)).judged
    assert held.sub_scores_valid.flatten(1).all(1).tolist() == [True, False, False, True, True]


def test_refusals() -> None:
    for settings, sentence in (
        ({"proposals": -1}, "judging.proposals=-1 must not be negative; 0 judges none"),
        ({"agents": 0}, "judging.agents=0 must be at least 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            JudgingConfig(**settings)
    with pytest.raises(ValueError, match="judged_agents=-1 not negative"):
        ClosedLoopConfig(judged_agents=-1)
