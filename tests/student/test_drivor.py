"""DrivoR's architecture: LoRA, registers, proposals and scorer, against its published sizes, and that it learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lightning
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from adaptation.module import AdaptationLoss, AdaptationModule, adaptation_loss
from gigapixel.run_folder.config.yaml_file import read_mapping
from student.batch import Batch, Label
from student.checkpoint import load_policy, load_weights, save_policy
from student.losses import LossConfig, imitation_loss, pose_l1, scoring_loss, winner_takes_all_l1
from student.module import OptimiserConfig, StudentModule
from student.network.encoder_config import EncoderConfig
from student.network.encoders import build_encoder
from student.network.grid_mask import grid_mask, randomly_masked
from student.network.lora import LoraQueryValue, merge_lora
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.observation import Observation
from student.sub_scores import ALL_OR_NOTHING, SUB_SCORES, JudgedProposals
from student.trajectory import Trajectory

pytestmark = pytest.mark.usefixtures("torch_seed")

ENCODER = EncoderConfig(
    "registers", 16, timm_name="test_vit", input_height_px=32, input_width_px=48, registers=2, lora_rank=2
)
PLANNER = PlannerConfig("proposals", 16, 1, proposals=6, head_hidden=32)
TINY = PolicyConfig(ENCODER, PLANNER, 4, 27, 48)
VARIANTS = {
    "native": TINY,
    "gigapixel": replace(TINY, contract="gigapixel"),
    "residual": replace(TINY, planner=replace(PLANNER, poses="residual")),
    "reg": replace(TINY, planner=replace(PLANNER, proposals=1, scorer=False)),
    "registers_to_trunk": replace(TINY, planner=PlannerConfig(hidden=32, layers=1)),
    "compact_to_proposals": replace(TINY, encoder=EncoderConfig(features=16, channels=(8,))),
}


class InOrder:
    """A loader of given batches, which draws nothing from torch's generator, as that of a student's run."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def count(module: nn.Module | None) -> int:
    assert module is not None
    return sum(weight.numel() for weight in module.parameters())


def configured(path: Path) -> PolicyConfig:
    """The architecture in a student's YAML file, as the command line reads it."""
    document = read_mapping(path)
    world = document["data"]["world"]
    policy = document["model"]["policy"] | {side: world[side] for side in ("height_px", "width_px")}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--policy", type=PolicyConfig)
    return parser.instantiate_classes(parser.parse_object({"policy": policy})).policy


def judged(candidates: Tensor, target: Trajectory) -> JudgedProposals:
    """Sub-scores that are the larger the nearer a candidate is to the target; nobody collides or drives against the
    traffic."""
    distance = (candidates - target.poses[:, None]).abs().sum(-1).mean(-1)
    good = torch.exp(-distance / distance.mean())[..., None].repeat(1, 1, len(SUB_SCORES))
    good[..., [SUB_SCORES.index(name) for name in ALL_OR_NOTHING]] = 1.0
    return JudgedProposals(candidates, good, torch.ones_like(good, dtype=torch.bool))


def test_lora_begins_as_the_frozen_layer_changes_no_keys_and_can_be_merged() -> None:
    frozen, tokens = nn.Linear(12, 36), torch.randn(2, 5, 12)
    layer = LoraQueryValue(frozen, rank=3)
    torch.testing.assert_close(layer(tokens), frozen(tokens), atol=0, rtol=0)
    layer(tokens).square().sum().backward()
    trained = {name for name, weight in layer.named_parameters() if weight.grad is not None}
    assert trained == {"query_a", "query_b", "value_a", "value_b"}
    nn.init.normal_(layer.query_b)
    nn.init.normal_(layer.value_b)
    changed = (layer(tokens) - frozen(tokens)).detach().abs().amax((0, 1)).view(3, 12)
    assert (changed[0] > 0.01).all()
    assert (changed[1] == 0).all()
    assert (changed[2] > 0.01).all()
    by_hand = frozen(tokens)[..., :12] + tokens @ layer.query_a.T @ layer.query_b.T
    torch.testing.assert_close(layer(tokens)[..., :12], by_hand)
    torch.testing.assert_close(layer.merged()(tokens), layer(tokens), atol=1e-5, rtol=1e-5)


def test_an_untrained_lora_leaves_the_tokens_of_a_transformer_and_is_all_of_it_that_learns() -> None:
    images = torch.randint(0, 255, (4, 27, 48, 3), dtype=torch.uint8)
    encoder = build_encoder(ENCODER, 27, 48, cameras=4)
    plain = build_encoder(replace(ENCODER, lora_rank=0), 27, 48, cameras=4)
    renamed = {name.replace(".qkv.qkv.", ".qkv."): value for name, value in encoder.state_dict().items()}
    plain.load_state_dict({name: value for name, value in renamed.items() if name in plain.state_dict()})
    torch.testing.assert_close(encoder(images), plain(images), atol=1e-6, rtol=1e-5)
    encoder(images).square().sum().backward()
    trained = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    adapted = {name for name in trained if name.startswith("backbone.")}
    assert trained - adapted == {"registers", "project.weight", "project.bias"}
    assert adapted == {
        f"backbone.blocks.{block}.attn.qkv.{name}_{matrix}"
        for block in range(6)
        for name in ("query", "value")
        for matrix in "ab"
    }
    for layer in encoder.modules():
        if isinstance(layer, LoraQueryValue):
            nn.init.normal_(layer.value_b, std=0.05)
    before = encoder(images)
    assert not torch.allclose(before, plain(images), atol=1e-3)
    merge_lora(encoder.backbone)
    torch.testing.assert_close(encoder(images), before, atol=1e-4, rtol=1e-4)


def test_registers_belong_to_their_camera_and_have_no_position() -> None:
    encoder = build_encoder(replace(ENCODER, registers=3), 27, 48, cameras=4).eval()
    nn.init.normal_(encoder.registers)
    images = torch.randint(0, 255, (8, 27, 48, 3), dtype=torch.uint8)
    images[4:] = images[:4]
    states = encoder.register_states(images)
    assert states.shape == (8, 3, 64)
    torch.testing.assert_close(states[4:], states[:4], atol=1e-5, rtol=1e-5)
    images[5] = 255 - images[5]
    other = encoder.register_states(images)
    same = [view for view in range(8) if torch.allclose(other[view], states[view], atol=1e-4)]
    assert same == [0, 1, 2, 3, 4, 6, 7]
    with torch.no_grad():
        encoder.registers.copy_(encoder.registers[:, [2, 0, 1]])
    torch.testing.assert_close(encoder.register_states(images), other[:, [2, 0, 1]], atol=1e-4, rtol=1e-4)


def test_every_stage_has_the_published_size(repository: Path) -> None:
    """DrivoR: 17.75 million trained parameters, of which LoRA 0.59, 8 blocks 8.4, heads for poses 6.7 and for scores
    1.6; the ViT-S/14 sees 31 x 18 patches, the class token, 4 registers of its own and 16 of ours."""
    config = configured(repository / "configs/student/drivor.yaml")
    assert config.encoder.pretrained
    config = replace(config, encoder=replace(config.encoder, pretrained=False))
    with torch.device("meta"):
        policy = StudentPolicy(config)
    encoder, planner = policy.perception.encoder, policy.planner
    lora = sum(weight.numel() for name, weight in encoder.backbone.named_parameters() if weight.requires_grad)
    block = 2 * 4 * (256 * 256 + 256) + (256 * 1024 + 1024) + (1024 * 256 + 256) + 3 * 2 * 256
    head = (256 * 1024 + 1024) + (1024 * 1024 + 1024) + 2 * 2 * 1024 + (1024 * 24 + 24)
    stages = {
        "lora": (lora, 12 * 2 * 2 * 32 * 384),
        "registers": (encoder.registers.numel(), 4 * 16 * 384),
        "projection": (count(encoder.project), 384 * 256 + 256),
        "ego": (count(planner.ego), 25 * 256 + 256),
        "queries": (planner.queries.numel(), 64 * 256),
        "blocks": (count(planner.decoder) + count(planner.scorer.decoder), 8 * block),
        "pose_heads": (count(planner.pose_heads), 5 * head),
        "score_heads": (count(planner.scorer.heads), 6 * (256 * 1024 + 1024 + 1024 + 1)),
        "scorer_input": (count(planner.scorer.embed), 24 * 1024 + 1024 + 1024 * 256 + 256),
    }
    for name, (found, expected) in stages.items():
        assert found == expected, name
    millions = {name: found / 1e6 for name, (found, _) in stages.items()}
    assert millions["lora"] == pytest.approx(0.59, abs=0.005)
    assert millions["blocks"] == pytest.approx(8.4, abs=0.05)
    assert millions["pose_heads"] == pytest.approx(6.7, abs=0.05)
    assert millions["score_heads"] == pytest.approx(1.6, abs=0.05)
    assert sum(millions.values()) == pytest.approx(17.75, abs=0.05)


@pytest.mark.parametrize(("name", "proposals"), [("drivor", 64), ("drivor_reg", 1)])
def test_tensor_shapes_of_every_stage(repository: Path, name: str, proposals: int) -> None:
    """At full size on torch's device without memory."""
    config = configured(repository / f"configs/student/{name}.yaml")
    config = replace(config, encoder=replace(config.encoder, pretrained=False))
    assert (config.height_px, config.width_px, config.contract) == (252, 434, "gigapixel")
    shapes: dict[str, tuple[int, ...]] = {}

    def keep(stage: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            shapes[f"{stage} in"] = tuple(inputs[0].shape)
            if isinstance(output, Tensor):
                shapes[f"{stage} out"] = tuple(output.shape)

        return hook

    with torch.device("meta"):
        policy = StudentPolicy(config)
        backbone, planner = policy.perception.encoder.backbone, policy.planner
        stages = {"patches": backbone.patch_embed, "transformer": backbone.norm, "ego": planner.ego}
        stages |= {"block": planner.decoder.blocks[-1], "projection": policy.perception.encoder.project}
        for stage, module in stages.items():
            module.register_forward_hook(keep(stage))
        plan = policy.eval()(
            Observation(
                torch.zeros(2, 4, 252, 434, 3, dtype=torch.uint8),
                torch.ones(2, 4, dtype=torch.bool),
                *(torch.zeros(2, width) for width in (8, 4, 15)),
            )
        )
    assert shapes["patches out"] == (8, 31 * 18, 384)
    assert shapes["transformer out"] == (8, 16 + 1 + 4 + 31 * 18, 384)
    assert (shapes["projection in"], shapes["projection out"]) == ((8, 16, 384), (8, 16, 256))
    assert shapes["ego in"] == (2, 25)
    assert shapes["block out"] == (2, proposals, 256)
    assert len(planner.decoder.blocks) == 4
    assert len(planner.pose_heads) == 5
    assert plan.tokens.shape == (2, 4, 16 * 256)
    assert plan.proposals is not None
    assert plan.proposals.shape == (2, proposals, 8, 3)
    assert plan.trajectory.poses.shape == (2, 8, 3)
    assert (plan.scores is None) == (proposals == 1)
    assert plan.scores is None or plan.scores.shape == (2, proposals, 6)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_reach_every_trained_weight(name: str, make_observation) -> None:
    """From the trajectory, action and score losses together; a missing camera's token learns too."""
    policy, observation = StudentPolicy(VARIANTS[name]).eval(), make_observation(5)
    observation.camera_mask[0] = False
    plan = policy(observation)
    loss = plan.action_logits.square().sum() + plan.trajectory.poses.square().sum()
    if plan.proposals is not None:
        torch.testing.assert_close(plan.trajectory.poses, plan.proposals[torch.arange(5), plan.choice])
        loss = loss + plan.proposals.square().sum()
    if plan.scores is not None:
        loss = loss + plan.scores.square().sum()
    nn.init.normal_(policy.perception.missing)
    loss.backward()
    for weight_name, weight in policy.named_parameters():
        if not weight.requires_grad:
            assert weight.grad is None
        elif not weight_name.endswith(("query_a", "value_a")):  # B is zero at first, so A has no gradient
            assert weight.grad is not None, weight_name
            assert weight.grad.abs().sum() > 0, weight_name


def test_the_nearest_proposal_alone_learns() -> None:
    target = Trajectory(torch.zeros(2, 8, 3))
    proposals = torch.zeros(2, 3, 8, 3)
    proposals[0] += torch.tensor([3.0, 1.0, 2.0])[:, None, None]
    proposals[1] += torch.tensor([0.5, 4.0, 5.0])[:, None, None]
    proposals.requires_grad_()
    errors = winner_takes_all_l1(proposals, target, yaw_weight_m=1.0)
    torch.testing.assert_close(errors, torch.tensor([3.0, 1.5]))
    errors.sum().backward()
    assert proposals.grad.abs().sum((2, 3)).bool().tolist() == [[False, True, False], [True, False, False]]
    torch.testing.assert_close(
        winner_takes_all_l1(proposals[:, :1], target, 2.0), pose_l1(Trajectory(proposals[:, 0]), target, 2.0)
    )


def test_it_learns_proposals_and_to_choose_among_them(make_observation) -> None:
    """A plan that depends on the command: the loss on held-out images falls to under a third, and the chosen proposal
    is better than the mean one."""
    policy = StudentPolicy(VARIANTS["gigapixel"])
    optimiser = torch.optim.Adam([weight for weight in policy.parameters() if weight.requires_grad], lr=1e-2)
    weight = torch.ones(16)

    def samples(seed: int) -> tuple[Observation, Label]:
        observation = make_observation(16, seed)
        poses = torch.zeros(16, 8, 3)
        poses[..., 0] = (1 + observation.command.argmax(-1))[:, None] * torch.arange(1, 9)
        return observation, Label(Trajectory(poses), weight.bool(), torch.zeros(16, dtype=torch.int64))

    def errors(seed: int) -> tuple[float, float, float]:
        observation, label = samples(seed)
        with torch.no_grad():
            plan = policy.eval()(observation)
        each = (plan.proposals - label.trajectory.poses[:, None]).abs().sum(-1).mean(-1)
        loss, _ = imitation_loss(plan, label, weight, LossConfig(yaw_weight_m=1.0))
        return float(loss), float(each.mean()), float(each[torch.arange(16), plan.choice].mean())

    before, _, _ = errors(1000)
    for seed in range(70):
        observation, label = samples(seed)
        plan = policy.train()(observation)
        loss, _ = imitation_loss(plan, label, weight, LossConfig(yaw_weight_m=1.0))
        targets = judged(plan.proposals.detach(), label.trajectory)
        logits = policy.planner.score(plan.tokens, observation, targets.candidates)
        optimiser.zero_grad()
        (loss + scoring_loss(logits, targets, weight, LossConfig())).backward()
        optimiser.step()
    after, mean, chosen = errors(1000)
    assert after < before / 3
    assert chosen < mean


def test_a_batch_with_judged_proposals_trains_the_scorer_too(make_observation) -> None:
    """Without them the scorer gets no gradient, with them it does; dropout is the same in a repeated epoch."""
    module = StudentModule(TINY)
    module.log = lambda *args, **kwargs: None
    observation = make_observation(3)
    label = Label(
        Trajectory(torch.zeros(3, 8, 3)), torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=int)
    )
    batch = Batch(observation, label, torch.ones(3))
    targets = judged(torch.randn(3, 2, 8, 3), label.trajectory)
    first = module.policy.planner.scorer.embed[0].weight
    for batch_, learns in ((batch, False), (replace(batch, judged=targets), True)):
        module.zero_grad()
        module.on_train_epoch_start()
        loss = module.training_step(batch_, 0)
        loss.backward()
        assert (first.grad is not None and bool(first.grad.abs().sum() > 0)) is learns
        module.on_train_epoch_start()
        assert module.training_step(batch_, 0).item() == loss.item()
        assert module.training_step(batch_, 0).item() != loss.item()


def test_batches_with_and_without_judged_proposals_go_through_their_tensors(make_observation) -> None:
    label = Label(
        Trajectory(torch.zeros(3, 8, 3)), torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=int)
    )
    batch = Batch(make_observation(3), label, torch.ones(3))
    assert batch[:2].judged is None
    assert Batch.from_tensors(batch.tensors()).judged is None
    batch = replace(batch, judged=judged(torch.randn(3, 2, 8, 3), label.trajectory))
    again = Batch.from_tensors(batch[1:].tensors())
    torch.testing.assert_close(again.judged.candidates, batch.judged.candidates[1:], atol=0, rtol=0)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_saved_policy_answers_the_same(name: str, make_observation, tmp_path: Path) -> None:
    policy = StudentPolicy(VARIANTS[name]).eval()
    save_policy(policy, tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert loaded.config == VARIANTS[name]
    for here, there in zip(
        policy(make_observation(2)).tensors().values(), loaded(make_observation(2)).tensors().values()
    ):
        torch.testing.assert_close(there, here, atol=0, rtol=0)
    trained = [[weight.requires_grad for weight in each.parameters()] for each in (policy, loaded)]
    assert trained[0] == trained[1]


def test_a_policy_of_another_contract_or_number_of_proposals_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    save_policy(StudentPolicy(VARIANTS["gigapixel"]), path)
    with pytest.raises(
        ValueError, match=r"policy\.pt holds another .*: contract is gigapixel there and native here"
    ):
        load_weights(StudentPolicy(TINY), path)
    with pytest.raises(
        ValueError, match=r"planner\.proposals is 6 there and 1 here, planner\.scorer is True"
    ):
        load_weights(StudentPolicy(replace(VARIANTS["reg"], contract="gigapixel")), path)
    other = replace(PLANNER, dropout=0.0, drop_path=0.0, selection="navsim_v1")
    load_weights(StudentPolicy(replace(VARIANTS["gigapixel"], planner=other)), path)


def test_adaptation_trains_lora_and_registers_and_no_frozen_backbone(make_observation) -> None:
    module = AdaptationModule(StudentPolicy(TINY))
    trained = {name for name, weight in module.named_parameters() if weight.requires_grad}
    encoder = "adapted.perception.encoder."
    assert {name for name in trained if "backbone" not in name} == {
        encoder + name for name in ("registers", "project.weight", "project.bias")
    }
    assert len(trained) == 3 + 6 * 4
    assert module.constant.shape == module.frozen(make_observation(1)).tokens.shape[1:] == (4, 2 * 16)


@pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`")
@pytest.mark.filterwarnings("ignore:.*starting training with a different number of training batches")
def test_a_resumed_run_equals_a_whole_one_bit_for_bit(make_observation, tmp_path: Path) -> None:
    """Two epochs, and one with the second from its checkpoint: weights and optimiser, with LoRA, scorer, GridMask and
    dropout; the frozen backbone is as it was."""
    label = Label(Trajectory(torch.ones(4, 8, 3)), torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=int))
    targets = judged(torch.randn(4, 2, 8, 3), label.trajectory)
    batches = [Batch(make_observation(4, seed), label, torch.ones(4), targets) for seed in range(2)]

    def fit(epochs: int, checkpoint: Path | None = None) -> tuple[StudentModule, lightning.Trainer]:
        lightning.seed_everything(5, verbose=False)
        policy = replace(TINY, encoder=replace(ENCODER, grid_mask=0.7))
        module = StudentModule(policy, optimiser=OptimiserConfig(warmup_steps=1, decay_steps=4))
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, InOrder(batches), ckpt_path=checkpoint)
        return module, trainer

    whole, _ = fit(2)
    half, trainer = fit(1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    begun = {name: value.clone() for name, value in half.policy.state_dict().items()}
    again, _ = fit(2, tmp_path / "half.ckpt")
    expected = whole.policy.state_dict()
    for name, value in again.policy.state_dict().items():
        assert torch.equal(value, expected[name]), name
    changed = {name for name in begun if not torch.equal(begun[name], expected[name])}
    assert any(name.endswith("query_b") for name in changed)
    assert any(name.startswith("planner.scorer.heads") for name in changed)
    assert not any(".qkv.qkv." in name or "backbone.blocks.0.mlp" in name for name in changed)


def test_adaptation_compares_proposal_by_proposal(make_observation) -> None:
    """Also where the two students choose others: the chosen ones agree here, the second ones differ by 2 m."""
    plan = StudentPolicy(TINY).eval()(make_observation(3))
    moved = plan.proposals.clone()
    moved[:, 1, :, 0] += 2.0
    loss, terms = adaptation_loss(
        replace(plan, proposals=moved), plan, torch.ones(3, 4) > 0, AdaptationLoss()
    )
    assert terms["loss_trajectory"].item() == pytest.approx(2.0 / PLANNER.proposals, rel=1e-4)
    assert terms["loss_feature"].item() == 0.0
    assert loss.item() == terms["loss_trajectory"].item()


def test_the_smallest_config_builds_and_answers(repository: Path, make_observation) -> None:
    policy = StudentPolicy(configured(repository / "configs/student/drivor_debug.yaml"))
    assert policy(make_observation(2)).trajectory.poses.shape == (2, 8, 3)


def test_grid_mask_blanks_squares_of_half_the_period_in_training_only() -> None:
    blanked = grid_mask(4, 6, period=4, row_offset=0, column_offset=1)
    rows = ["......", "......", ".##..#", ".##..#"]
    assert blanked.tolist() == [[mark == "#" for mark in row] for row in rows]
    picture = torch.ones(3, 3, 20, 30)
    assert torch.equal(randomly_masked(picture, 0.0), picture)
    shares = [1 - randomly_masked(picture, 1.0).mean().item() for _ in range(50)]
    assert sum(shares) / 50 == pytest.approx(0.25, abs=0.1)
    encoder = build_encoder(replace(ENCODER, grid_mask=1.0), 27, 48, cameras=4)
    images = torch.randint(0, 255, (4, 27, 48, 3), dtype=torch.uint8)
    assert not torch.equal(encoder(images), encoder(images))
    encoder.eval()
    assert torch.equal(encoder(images), encoder(images))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: replace(ENCODER, registers=0), "encoder.registers=0 must be at least 1"),
        (lambda: replace(ENCODER, lora_rank=-1), "encoder.lora_rank=-1 must be 0"),
        (lambda: replace(ENCODER, grid_mask=1.5), "encoder.grid_mask=1.5 must lie in"),
        (lambda: replace(PLANNER, heads=3), "planner.heads=3 must divide planner.hidden=16"),
        (lambda: replace(PLANNER, scorer=False), "proposals=6 need planner.scorer"),
        (lambda: replace(PLANNER, dropout=1.0), "planner.dropout=1.0 must lie in"),
        (
            lambda: replace(TINY, planner=replace(PLANNER, hidden=32)),
            "hidden=32 and encoder.features=16 must",
        ),
        (
            lambda: replace(VARIANTS["residual"], contract="gigapixel"),
            "it needs planner.kind 'proposals' and",
        ),
        (lambda: replace(TINY, contract="gigapixel", num_cameras=3), "policy.num_cameras is 3"),
        (
            lambda: build_encoder(replace(ENCODER, timm_name="test_resnet"), 27, 48, 4),
            "'test_resnet' is no plain vision transformer",
        ),
        (lambda: LossConfig(score_weight=-1.0), "loss.score_weight=-1.0"),
    ],
)
def test_impossible_settings_are_refused(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_attention_of_registers_is_that_of_the_last_block(make_observation) -> None:
    """Against the softmax written out on what the block is given."""
    encoder = build_encoder(ENCODER, 27, 48, cameras=4).eval()
    nn.init.normal_(encoder.registers)
    images = make_observation(2).images.flatten(0, 1)
    shares = encoder.attention(images)
    assert shares.shape == (8, 2, 2, 3)
    assert ((shares > 0) & (shares.sum((2, 3), keepdim=True) < 1)).all()
    seen: list[Tensor] = []
    last = encoder.backbone.blocks[-1]
    last.attn.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    encoder.register_states(images)
    tokens, heads = seen[0], last.attn.num_heads
    query, key = (part.unflatten(-1, (heads, -1)) for part in last.attn.qkv(tokens).chunk(3, -1)[:2])
    logits = torch.einsum("vrhd,vthd->vhrt", query[:, :2], key) / key.shape[-1] ** 0.5
    by_hand = logits.softmax(-1).mean(1)
    torch.testing.assert_close(by_hand[..., -6:].unflatten(-1, (2, 3)), shares)
