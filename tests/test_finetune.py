"""Fine-tuning: rates and groups by hand, clips as everywhere, nothing learnt from test videos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import ssvid.evaluation.supervised as supervised_module
from ssvid.data.frame_cache import FrameCache
from ssvid.data.index import Index
from ssvid.data.loader import ClipReader, SamplePlan
from ssvid.data.sampling import even_views
from ssvid.data.scanning import scan_videos
from ssvid.errors import ConfigError, SsvidError
from ssvid.evaluation import adapter, finetuning
from ssvid.evaluation.adapter import Candidate, EvalContext, find_protocol, protocols
from ssvid.evaluation.features import View
from ssvid.evaluation.finetuning import Recipe, augmentation, clip_source, optimizer_for, predict, stages, train
from ssvid.evaluation.supervised import supervised
from ssvid.video.writer import write_video
from ssvid.zoo import create_model

TOY = "tests/toy.py:toy"
VIEW = View(clips=1, frames=8, stride=1, size=16)
QUICK = {"epochs": 8, "batch": 4, "lr": 1e-2, "clips": 2}
FINETUNES = [name for name in protocols() if name.startswith("finetune")]


def recipe(name: str = "finetune", **changes) -> Recipe:
    return Recipe(**find_protocol(name).settings(QUICK | changes))


def toy() -> nn.Module:
    torch.manual_seed(0)
    return create_model(TOY)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Six videos that grow brighter and six that grow darker, of 5, 12 and 20 frames, 40 x 24 px."""
    folder = tmp_path_factory.mktemp("light")
    rng = np.random.default_rng(0)
    for number in range(12):
        frames = (5, 12, 20)[number % 3]
        ramp = np.linspace(40, 200, frames)
        light = ramp if number % 2 else ramp[::-1]
        noise = rng.normal(0, 8, (frames, 24, 40, 3))
        pixels = (light[:, None, None, None] + noise).clip(0, 255).astype(np.uint8)
        write_video(folder / ("up" if number % 2 else "down") / f"{number:02d}.mp4", pixels)
    index = Index(folder / "index.sqlite", create=True)
    scan_videos([folder], index, engine="local:1")
    return index.videos()


def setting_of(videos, **changes) -> EvalContext:
    train = np.array([n for n in range(12) if n % 6 < 4])
    return EvalContext(videos, [(train, np.setdiff1d(np.arange(12), train))], VIEW, workers=0, options=QUICK, **changes)


def run(videos, make=toy, **changes):
    context = setting_of(videos, **changes)
    return next(adapter.run("finetune", Candidate("toy", make, False), context))


# --- recipes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FINETUNES)
def test_every_recipe_is_in_range(name):
    assert recipe(name).batch == 4
    assert protocols()[name].trains == "all"


def test_rates_by_hand():
    cosine = recipe(schedule="cosine", warmup=0.1)
    rates = [cosine.rate(step, 100) for step in range(100)]
    assert rates[4] == pytest.approx(0.5)  # half way through the warm-up
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5, abs=0.02)
    assert rates[99] == pytest.approx(0.001, abs=1e-3)
    assert {recipe(schedule="constant").rate(step, 100) for step in range(100)} == {1.0}
    drops = recipe("finetune_severe")
    assert [drops.rate(step, 160) for step in (0, 59, 60, 99, 100, 140)] == pytest.approx([1, 1, 0.3, 0.3, 0.09, 0.027])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "lion"}, "optimizer='lion' is not one of adamw"),
        ({"average": "votes"}, "average='votes' is not one of logits"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"batch": 1}, "batch must be at least 2"),
        ({"area": 0.5}, r"area: 0.5 is not tuple\[float, float\]"),
    ],
)
def test_settings_out_of_range_are_told(changes, message):
    with pytest.raises(ConfigError, match=message):
        recipe(**changes)


def test_rates_and_decay_of_each_part():
    model = finetuning.Classifier(create_model("r3d_18_tiny"), 3)
    parts = stages(model.backbone)
    optimizer = optimizer_for(model, recipe(layer_decay=0.5, head_lr=4.0, lr=0.1, weight_decay=0.3))
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len({id(p) for p in held}) == len(list(model.parameters()))
    scale = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    for number, part in enumerate(parts):
        assert {scale[id(p)] for p in part} == {0.5 ** (len(parts) - number)}
    assert len(parts) > 2
    assert parts[0][0] is next(model.backbone.parameters())
    assert {scale[id(p)] for p in model.head.parameters()} == {4.0}
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.1 * group["scale"])
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.3}
    adam = optimizer_for(model, recipe("finetune_coclr"))
    assert type(adam) is torch.optim.Adam
    assert optimizer_for(model, recipe("finetune_vcop")).defaults["momentum"] == 0.9


# --- clips --------------------------------------------------------------------------------------------------------------


def test_kept_frames_are_those_of_the_loader(videos):
    frame_cache, decoded = FrameCache(videos, 24), FrameCache(videos, 24, limit=0)
    assert frame_cache.kept
    assert not decoded.kept
    reader = ClipReader(24)
    plan = SamplePlan(videos[3], 3, np.array([[0, 2, 4], [4, 4, 1]]), np.array(3), {}, 0.5, 16)
    np.testing.assert_array_equal(frame_cache[plan][2], reader[plan][2])
    batches = [
        list(clip_source(kept, VIEW, recipe(), "cpu").random(np.arange(12), 4, 3, 0)) for kept in (frame_cache, decoded)
    ]
    assert len(batches[0]) == 3
    for a, b in zip(*batches, strict=True):
        assert a.clips.shape == (4, 1, 3, 8, 16, 16)
        torch.testing.assert_close(a.clips, b.clips)
        assert a.paths == [videos[number].path for number in a.target.tolist()]


def test_frames_are_decoded_once(videos, monkeypatch):
    FrameCache(videos, 24)
    monkeypatch.setattr("ssvid.data.frame_cache.load", None)
    assert FrameCache(videos, 24).kept


def test_windows_are_random_and_short_videos_repeat_evenly(videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(), "cpu")
    short, long = (next(n for n, v in enumerate(videos) if v.info.frames == frames) for frames in (5, 20))
    assert source._random(short, 0, 0).indices.tolist() == even_views(5, 1, 8).tolist()
    starts = {int(source._random(long, 0, place).indices[0, 0]) for place in range(60)}
    assert starts == set(range(13))
    assert all((np.diff(source._random(long, 0, place).indices) == 1).all() for place in range(5))
    slow = replace(source, view=replace(VIEW, stride=2))
    assert (np.diff(slow._random(long, 0, 0).indices) == 2).all()


def test_every_epoch_shows_every_video_and_test_clips_are_even(videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(clips=3), "cpu")
    positions = np.array([1, 4, 5, 9])
    seen = [batch.target.tolist() for batch in source.random(positions, 2, 4, 0)]
    assert [sorted(seen[0] + seen[1]), sorted(seen[2] + seen[3])] == [[1, 4, 5, 9]] * 2
    tested = list(source.even(np.arange(12)))
    assert [number for batch in tested for number in batch.target.tolist()] == list(range(12))  # the short ones too
    assert tested[0].clips.shape[1] == 3
    again = list(source.even(np.arange(12)))
    assert torch.equal(tested[2].clips, again[2].clips)


@pytest.mark.parametrize(("flip", "mirrored"), [(True, True), (False, False)])
def test_nothing_is_mirrored_where_that_changes_the_label(flip, mirrored, videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(flip=0.5), "cpu", flip)
    boxes = np.stack([source._random(2, 0, place).params["box"] for place in range(40)])
    assert bool((boxes[..., 2] < 0).any()) == mirrored
    assert augmentation(16, recipe(flip=0.5), flip).flip == (0.5 if flip else 0.0)


def test_flip_of_the_setting_reaches_the_clips(videos, monkeypatch):
    seen = []
    monkeypatch.setattr(supervised_module, "clip_source", lambda *given: seen.append(given[-1]) or clip_source(*given))
    run(videos, flip=False)
    assert seen == [False, False]  # to train, and to test


# --- training -----------------------------------------------------------------------------------------------------------


def test_it_learns(videos):
    score = run(videos)
    assert (score.name, score.value, score.chance) == ("finetune", 100, 50)
    assert score.predicted == {videos[n].id: videos[n].label for n in (4, 5, 10, 11)}


def test_labels_of_test_videos_have_no_influence(videos):
    weights = []

    def make():
        weights.append(toy())
        return weights[-1]

    first = run(videos, make)
    swapped = [
        replace(video, label={"up": "down", "down": "up"}[video.label]) if n % 6 >= 4 else video
        for n, video in enumerate(videos)
    ]
    second = run(swapped, make)
    assert first.predicted == second.predicted
    assert second.value == 100 - first.value
    assert all(torch.equal(a, b) for a, b in zip(weights[0].parameters(), weights[1].parameters(), strict=True))
    assert not torch.equal(next(weights[0].parameters()), next(toy().parameters()))  # all layers learn


def test_training_depends_on_its_seed_alone(videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(), "cpu")
    codes = np.array([video.label == "up" for video in videos]).astype(int)

    def weights(seed, noise):
        torch.manual_seed(noise)
        backbone = create_model(TOY)
        backbone.load_state_dict(toy().state_dict())
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        model = train(backbone, source, np.arange(12), codes, recipe(epochs=1, dropout=0.5), seed)
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))


def test_steps_bound_the_time(videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(), "cpu")
    told = []
    train(toy(), source, np.arange(12), np.arange(12) % 2, recipe(steps=2), 0, lambda *seen: told.append(seen))
    assert told == [("training", 1, 2), ("training", 2, 2)]
    told.clear()
    train(toy(), source, np.arange(10), np.arange(10) % 2, recipe(epochs=1), 0, lambda *seen: told.append(seen))
    assert told[-1] == ("training", 3, 3)  # 10 clips are two batches of four and one that goes into the next epoch


def test_a_loss_that_is_not_finite_stops(videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(), "cpu")
    backbone = toy()
    next(backbone.parameters()).data.fill_(float("nan"))
    with pytest.raises(SsvidError, match=r"the loss is nan at step 0; lower lr.*mp4"):
        train(backbone, source, np.arange(12), np.arange(12) % 2, recipe())
    with pytest.raises(
        SsvidError, match=r"(\S+\.mp4, ){4}\S+\.mp4 and 3 more$"
    ):  # a batch of hundreds is not listed whole
        train(backbone, source, np.arange(12), np.arange(12) % 2, recipe(batch=8))


class Known(nn.Module):
    """A classifier whose logits are known: those of the row that the video's target says, one for each clip."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, clips):
        return self.logits


def test_means_of_logits_and_of_probabilities_by_hand(videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(clips=2), "cpu")
    model = Known([[9.0, 0.0], [-2.0, 2.0]])  # one sure clip and one that disagrees
    np.testing.assert_allclose(predict(model, source, np.array([3]), "logits"), [[3.5, 1.0]])
    first, second = 1 / (1 + np.exp(-9)), 1 / (1 + np.exp(4))
    shares = predict(model, source, np.array([3]), "probabilities")
    np.testing.assert_allclose(shares, [[(first + second) / 2, 1 - (first + second) / 2]], atol=1e-6)


def test_testing_moves_no_statistic(videos):
    source = clip_source(FrameCache(videos, 24), VIEW, recipe(), "cpu")
    model = finetuning.Classifier(create_model("r3d_18_tiny"), 2).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    predict(model, source, np.arange(4), "logits")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# --- supervised from scratch ----------------------------------------------------------------------------------------------


def test_supervised_is_trained_on_the_training_videos_of_each_fold_and_kept(videos, monkeypatch):
    context = setting_of(videos)
    context = replace(context, folds=[*context.folds, context.folds[0][::-1]], options={"strengths": 0.01})
    candidate = supervised(Candidate("supervised", toy, False), context, recipe())
    assert candidate.per_fold
    assert not candidate.pretrained
    made = [candidate.backbone(fold) for fold in (0, 1)]
    assert not torch.equal(*(next(backbone.parameters()) for backbone in made))
    swapped = [
        replace(video, label={"up": "down", "down": "up"}[video.label]) if n % 6 >= 4 else video
        for n, video in enumerate(videos)
    ]
    other = supervised(Candidate("supervised", toy, False), replace(context, videos=swapped), recipe())
    same, differs = (
        torch.equal(next(other.backbone(fold).parameters()), next(made[fold].parameters())) for fold in (0, 1)
    )
    assert same  # labels of the test videos alone were swapped
    assert not differs
    monkeypatch.setattr(supervised_module, "train", None)  # from here on nothing is trained
    kept = supervised(Candidate("supervised", toy, False), context, recipe()).backbone(0)
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), made[0].parameters(), strict=True))
    assert not kept.training
    tuned = next(adapter.run("finetune", Candidate("supervised", toy, False), replace(context, options=QUICK)))
    assert tuned.value > 50  # with the head that was trained with it
    score = next(adapter.run("linear", candidate, context))
    assert score.value >= 50
