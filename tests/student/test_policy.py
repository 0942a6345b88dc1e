"""The student network: shapes, what untrained heads say, missing cameras, learning, files."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from simulator import conventions
from simulator.conventions import POSE_SPACING_S
from student.batch import Label
from student.checkpoint import (
    CONVENTIONS_KEY,
    SHIPPED_FILE,
    check_architecture,
    load_policy,
    load_weights,
    save_policy,
)
from student.losses import LossConfig, imitation_loss, pose_l1
from student.module import OptimiserConfig, StudentModule, learning_rate_share
from student.network import planner
from student.network.encoders import EncoderConfig, build_encoder
from student.network.planner import PlannerConfig, TrajectoryHead
from student.network.policy import Plan, PolicyConfig, StudentPolicy
from student.observation import (
    Command,
    Observation,
    command_from_heading_change,
    ego_features,
    ego_value,
    one_hot_command,
)
from student.trajectory import Trajectory

pytestmark = pytest.mark.usefixtures("torch_seed")


def test_plan_shapes_and_gradients_reach_every_weight(tiny_config, make_observation) -> None:
    policy = StudentPolicy(tiny_config)
    observation = make_observation(5)
    observation.camera_mask[0, 1] = False
    plan = policy(observation)
    assert plan.trajectory.poses.shape == (5, 8, 3)
    assert plan.action_logits.shape == (5, 12)
    assert plan.tokens.shape == (5, 4, 16)
    (plan.trajectory.poses.square().sum() + plan.action_logits.square().sum()).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in policy.parameters())


def test_a_silent_head_goes_on_as_it_goes() -> None:
    """With an output of zero the plan holds speed and steering; a standing agent stays where it is."""
    head = TrajectoryHead(4)
    torch.nn.init.zeros_(head.project.weight)
    speed, zero = torch.tensor([8.0, 0.0]), torch.zeros(2)
    steering = torch.tensor([0.1, 0.3])
    ego = ego_features(speed, zero, zero, steering, torch.tensor([[5.0, 2.0, 1.5]]).expand(2, 3))
    poses = head(torch.zeros(2, 4), ego).poses.detach()
    curvature = torch.tan(steering[0]) / 3.0
    assert float(poses[0, -1, 2]) == pytest.approx(float(8 * POSE_SPACING_S * 8.0 * curvature), rel=1e-3)
    assert poses[1].abs().max() < 0.05


def test_a_missing_camera_cannot_be_seen(tiny_config, make_observation) -> None:
    policy = StudentPolicy(tiny_config).eval()
    observation = make_observation(3)
    observation.camera_mask[:, 2] = False
    other = observation.images.clone()
    other[:, 2] = 255 - other[:, 2]
    first = policy(observation).trajectory.poses
    torch.testing.assert_close(
        policy(replace(observation, images=other)).trajectory.poses, first, atol=0, rtol=0
    )
    other[:, 0] = 255 - other[:, 0]
    assert not torch.equal(policy(replace(observation, images=other)).trajectory.poses, first)


def test_every_command_asks_for_its_own_plan(tiny_config, make_observation) -> None:
    """The command must reach the plan through more than the picture: same pictures, other command, other plan."""
    policy = StudentPolicy(tiny_config)
    observation = make_observation(1)
    plans = [
        policy(replace(observation, command=one_hot_command(torch.tensor([int(command)])))).trajectory.poses
        for command in Command
    ]
    assert all(not torch.equal(plans[0], plan) for plan in plans[1:])


def test_command_thresholds() -> None:
    change = torch.deg2rad(torch.tensor([26.0, 24.0, -24.0, -26.0, float("nan")]))
    names = [Command(int(index)).name for index in command_from_heading_change(change)]
    assert names == ["LEFT", "STRAIGHT", "STRAIGHT", "RIGHT", "UNKNOWN"]


def test_ego_values_survive_scaling() -> None:
    size = torch.tensor([[4.0, 1.8, 1.5]])
    one = torch.ones(1)
    ego = ego_features(12.0 * one, -2.0 * one, 1.5 * one, 0.2 * one, size)
    found = [float(ego_value(ego, name)) for name in ("speed_mps", "steering_rad", "length_m", "stopped")]
    assert found == pytest.approx([12.0, 0.2, 4.0, 0.0])


def test_loss_by_hand_and_weights() -> None:
    """Sample 0 is 1 m off at every pose and 0.1 rad at every pose; sample 1 is right. Weights 3 and 1. Sample 2 is far
    off, with a large weight, but its label is not valid."""
    target = torch.zeros(3, 8, 3)
    predicted = target.clone()
    predicted[0] += torch.tensor([1.0, 0.0, 0.1])
    predicted[2] += 50.0
    error = pose_l1(Trajectory(predicted), Trajectory(target), yaw_weight_m=2.0)
    torch.testing.assert_close(error[:2], torch.tensor([1.2, 0.0]))
    plan = Plan(Trajectory(predicted), torch.zeros(3, 12), torch.zeros(3, 4, 1))
    label = Label(Trajectory(target), torch.tensor([True, True, False]), torch.tensor([0, 5, 5]))
    weight = torch.tensor([3.0, 1.0, 5.0])
    loss, terms = imitation_loss(plan, label, weight, LossConfig(yaw_weight_m=2.0, action_weight=0.5))
    assert float(terms["loss_trajectory"]) == pytest.approx(0.9)
    assert float(loss) == pytest.approx(0.9 + 0.5 * torch.log(torch.tensor(12.0)).item(), rel=1e-5)


def test_it_learns_a_plan_from_pixels(tiny_config, make_observation) -> None:
    """A plan that depends on the brightness of one camera, the others showing noise, is learnt from 120 batches: the
    loss on images that were not trained on falls to under a fifth."""

    def samples(seed: int) -> tuple[Observation, Label]:
        observation = make_observation(32, seed)
        bright = torch.arange(32) % 2 == 0
        noise = observation.images[:, 0] // 4
        observation.images[:, 0] = noise + torch.where(bright, 180, 20).to(torch.uint8)[:, None, None, None]
        poses = torch.zeros(32, 8, 3)
        poses[..., 0] = torch.where(bright, 1.0, 4.0)[:, None] * torch.arange(1, 9)
        valid = torch.ones(32, dtype=torch.bool)
        same_ego = replace(observation, ego=make_observation(1, 0).ego.expand(32, -1))
        return same_ego, Label(Trajectory(poses), valid, torch.where(bright, 1, 7))

    policy, weight = StudentPolicy(tiny_config), torch.ones(32)
    optimiser = torch.optim.Adam(policy.parameters(), lr=5e-3)

    def loss(seed: int) -> torch.Tensor:
        observation, label = samples(seed)
        return imitation_loss(policy(observation), label, weight, LossConfig())[0]

    held_out = 1000
    before = loss(held_out).item()
    for seed in range(120):
        optimiser.zero_grad()
        loss(seed).backward()
        optimiser.step()
    assert loss(held_out).item() < 0.2 * before


def test_learning_rate_by_hand() -> None:
    """4 steps of linear warm-up times a cosine over 8 steps from 1 to 0.1."""
    share = learning_rate_share(OptimiserConfig(warmup_steps=4, final_share=0.1), total_steps=8)
    cosine = [0.1 + 0.45 * (1 + math.cos(math.pi * step / 8)) for step in range(9)]
    expected = [0.25 * cosine[0], 0.5 * cosine[1], 0.75 * cosine[2], *cosine[3:], 0.1]
    assert [share(step) for step in range(10)] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timm_backbones_see_each_picture_and_where_things_are(name: str) -> None:
    """A token depends on its own picture only, and on which half of it is bright; a frozen backbone gets no gradient,
    its projection does."""
    config = EncoderConfig(
        kind="timm", timm_name=name, features=16, input_height_px=96, input_width_px=96, freeze_backbone=True
    )
    encoder = build_encoder(config, 27, 48).eval()
    images = torch.randint(0, 60, (3, 27, 48, 3), dtype=torch.uint8)
    images[0, :, :24] += 190
    images[1, :, 24:] += 190
    tokens = encoder(images)
    torch.testing.assert_close(encoder(images[1:2])[0], tokens[1], atol=1e-4, rtol=1e-4)
    assert (tokens[0] - tokens[1]).norm() > 0.1 * tokens[0].norm()
    tokens.square().sum().backward()
    trained = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    assert trained == {name for name, _ in encoder.named_parameters() if not name.startswith("backbone.")}


def test_images_are_padded_to_whole_patches_where_the_config_says_so() -> None:
    """27 x 40 px and patches of 16: padding by the mean colour equals images that have that colour there already."""
    padded = EncoderConfig(
        kind="timm",
        timm_name="test_vit",
        features=16,
        input_height_px=27,
        input_width_px=40,
        partial_patches="pad",
    )
    encoder = build_encoder(padded, 27, 40).eval()
    whole = build_encoder(replace(padded, input_height_px=32, input_width_px=48), 32, 48).eval()
    whole.load_state_dict(encoder.state_dict())
    images = torch.randint(0, 255, (2, 27, 40, 3), dtype=torch.uint8)
    framed = torch.zeros(2, 32, 48, 3, dtype=torch.uint8) + encoder.mean.view(3).round().to(torch.uint8)
    framed[:, :27, :40] = images
    torch.testing.assert_close(encoder(images), whole(framed), atol=0.02, rtol=0.02)
    framed[:, 27:] = 255
    assert not torch.allclose(encoder(images), whole(framed), atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("name", "patch", "sizes"),
    [("test_vit", "16 x 16", "16 x 32 or 32 x 48"), ("mixer_s16_224", "16 x 16", "")],
)
def test_input_sizes_that_a_patch_does_not_divide_are_refused(name: str, patch: str, sizes: str) -> None:
    config = EncoderConfig(kind="timm", timm_name=name, input_height_px=27, input_width_px=40)
    with pytest.raises(ValueError, match=rf"has patches of {patch} px, .* 27 x 40 px .*{sizes}, or .*'pad'"):
        build_encoder(config, 27, 40)


def test_weights_replace_published_ones_which_are_not_fetched(tiny_config, tmp_path, monkeypatch) -> None:
    encoder = EncoderConfig("timm", 16, timm_name="test_vit", input_height_px=32, input_width_px=48)
    policy = StudentPolicy(replace(tiny_config, encoder=encoder))
    save_policy(policy, tmp_path / "policy.pt")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    wanted = replace(policy.config, encoder=replace(encoder, pretrained=True))
    with pytest.raises(OSError, match="weights of 'test_vit' cannot be fetched"):
        StudentModule(wanted)
    module = StudentModule(wanted, weights=str(tmp_path / "policy.pt"))
    assert all(map(torch.equal, module.policy.state_dict().values(), policy.state_dict().values()))


def test_saved_policy_answers_the_same(tiny_config, make_observation, tmp_path) -> None:
    policy = StudentPolicy(tiny_config).eval()
    save_policy(policy, tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert loaded.config == tiny_config
    torch.testing.assert_close(
        loaded(make_observation(2)).trajectory.poses,
        policy(make_observation(2)).trajectory.poses,
        atol=0,
        rtol=0,
    )


def test_another_architecture_is_refused(tiny_config, tmp_path) -> None:
    save_policy(StudentPolicy(tiny_config), tmp_path / "policy.pt")
    wider = replace(tiny_config, planner=PlannerConfig(hidden=64, layers=1))
    with pytest.raises(
        ValueError, match=r"policy\.pt holds another .*planner\.hidden is 32 there and 64 here"
    ):
        load_weights(StudentPolicy(wider), tmp_path / "policy.pt")


def test_other_conventions_are_refused(tiny_config, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy made for another horizon is refused by name; a file without conventions, by its shapes."""
    path = tmp_path / "policy.pt"
    save_policy(StudentPolicy(tiny_config), path)
    unstamped = tmp_path / "unstamped.pt"
    contents = torch.load(path, weights_only=True)
    del contents[CONVENTIONS_KEY]
    torch.save(contents, unstamped)
    load_policy(unstamped)
    monkeypatch.setattr(conventions, "NUM_POSES", 12)
    monkeypatch.setattr(planner, "NUM_POSES", 12)
    with pytest.raises(
        ValueError, match=r"policy\.pt: made with num_poses=8, but this version has num_poses=12"
    ):
        load_policy(path)
    with pytest.raises(ValueError, match=r"policy\.pt: made with num_poses=8"):
        load_weights(StudentPolicy(tiny_config), path)
    with pytest.raises(
        ValueError,
        match=r"unstamped\.pt: the weights do not fit .*head.* is \(24,\) in the file and \(36,\) in",
    ):
        load_policy(unstamped)


def test_a_checkpoint_of_other_conventions_is_refused(tiny_config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resuming a run checks the conventions before the weights."""
    module = StudentModule(tiny_config)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    check_architecture(checkpoint, tiny_config, Path("last.ckpt"))
    monkeypatch.setattr(conventions, "POSE_SPACING_S", 0.25)
    with pytest.raises(ValueError, match=r"last\.ckpt: made with pose_spacing_s=0\.5"):
        check_architecture(checkpoint, tiny_config, Path("last.ckpt"))


def test_the_shipped_student_is_accepted_by_its_name(tmp_path: Path) -> None:
    shipped = load_policy("pretrained")
    assert shipped.config.num_cameras == 4
    contents = torch.load(SHIPPED_FILE, weights_only=True)
    contents.pop(CONVENTIONS_KEY, None)  # as in files of older versions
    torch.save(contents, tmp_path / "older.pt")
    older = load_policy(tmp_path / "older.pt")
    assert all(torch.equal(a, b) for a, b in zip(older.parameters(), shipped.parameters(), strict=True))


def test_files_that_are_no_policy_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt: no such file; expected a student policy"):
        load_policy(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pt: not a file of torch.*; expected a student policy"):
        load_policy(tmp_path / "text.pt")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt is not a student policy file"):
        load_policy(tmp_path / "other.pt")


def _is_refused(path: Path, expected: StudentPolicy) -> bool:
    """Whether a file is refused; asserts that it holds the expected weights where it is not."""
    try:
        policy = load_policy(path)
    except ValueError:
        return True
    assert all(map(torch.equal, policy.parameters(), expected.parameters()))
    return False


def test_a_policy_that_is_cut_or_changed_at_any_byte_is_refused(tiny_config, tmp_path) -> None:
    """torch.load itself accepts most changed bytes: they are those of weights."""
    path = tmp_path / "policy.pt"
    save_policy(StudentPolicy(tiny_config), path)
    good, expected = path.read_bytes(), load_policy(path)
    places = np.random.default_rng(0).integers(0, len(good), 25).tolist()
    for place in [0, 1, 2000, len(good) - 1, *places]:
        path.write_bytes(good[:place])
        with pytest.raises(ValueError, match=r"policy\.pt: .*; expected a student policy"):
            load_policy(path)
    noticed = 0
    for place in places:
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        noticed += _is_refused(path, expected)
    assert noticed > 20, "the others are padding between two parts"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EncoderConfig(channels=(12,)), "multiples of 8"),
        (lambda: PlannerConfig(hidden=0), "planner.hidden=0"),
        (lambda: PolicyConfig(num_cameras=0), "policy.num_cameras=0"),
        (lambda: LossConfig(action_weight=-1.0), "action_weight=-1.0"),
        (
            lambda: build_encoder(EncoderConfig(kind="timm", timm_name="resnet_of_mine"), 27, 48),
            "not a timm model",
        ),
        (lambda: EncoderConfig(input_height_px=0), "encoder.input_height_px=0"),
    ],
)
def test_impossible_settings_are_refused(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_pictures_of_another_size_are_refused(tiny_config, make_observation) -> None:
    observation = make_observation(1)
    with pytest.raises(ValueError, match=r"is \(4, 20, 48\) .* takes \(4, 27, 48\)"):
        StudentPolicy(tiny_config)(replace(observation, images=observation.images[:, :, :20]))


def test_observations_are_checked(make_observation) -> None:
    good = make_observation(2)
    good.validate()
    with pytest.raises(ValueError, match="must be one-hot"):
        replace(good, command=torch.zeros(2, 4)).validate()
    with pytest.raises(ValueError, match=r"Observation\.ego holds a value that is not finite"):
        replace(good, ego=torch.full_like(good.ego, float("nan"))).validate()


def test_the_room_itself_never_loads_jax(repository) -> None:
    modules = "student, student.losses, student.module, student.network.encoders"
    code = f"import {modules}, sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, check=False).returncode == 0


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", None)])
def test_the_optimiser_is_fused_only_where_lightning_clips_its_gradients(
    precision: str, fused: bool | None, tiny_config: PolicyConfig
) -> None:
    module = StudentModule(tiny_config, optimiser=OptimiserConfig(decay_steps=10))
    module.trainer = lightning.Trainer(
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    assert module.configure_optimizers()["optimizer"].defaults["fused"] is fused


def test_a_policy_without_conditioning_drives_alike_whoever_it_is_told_to_be(
    tiny_config: PolicyConfig, make_observation, torch_seed: None
) -> None:
    observation = make_observation(3)
    other = replace(observation, conditioning=-observation.conditioning)
    for told in (True, False):
        policy = StudentPolicy(replace(tiny_config, conditioning=told)).eval()
        one, two = (policy(seen).action_logits for seen in (observation, other))
        assert torch.equal(one, two) is not told
    proposes = replace(tiny_config.planner, kind="proposals", hidden=tiny_config.encoder.features)
    with pytest.raises(ValueError, match=r"policy\.conditioning=false is for planner\.kind 'trunk'"):
        replace(tiny_config, planner=proposes, conditioning=False)
