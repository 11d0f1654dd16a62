"""Clips and mattes: flow, masks and alpha are exactly what they say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from utils import data
from utils.data.clips import KINDS as STOP_AND_GO
from utils.data.clips import stop_and_go
from utils.data.mattes import KINDS


@pytest.fixture(scope="module")
def clips() -> data.Clips:
    return data.clips(6, "train", seed=1, noise=0, frames=8)


def test_shapes_and_ranges(clips) -> None:
    assert clips.image.shape == (6, 8, 3, 64, 64) and clips.image.dtype == torch.float32
    assert clips.instances.shape == (6, 8, 64, 64)
    assert clips.flow.shape == (6, 7, 2, 64, 64) and clips.flow.isfinite().all()
    assert 0 <= clips.image.min() and clips.image.max() <= 1 and len(clips) == 6
    assert set(clips.instances.unique().tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("make", [data.clips, data.mattes])
def test_equal_arguments_give_equal_bits(make) -> None:
    one, two, other = (make(4, "test", seed=s) for s in (5, 5, 6))
    assert all(torch.equal(getattr(one, k), getattr(two, k)) for k in vars(one))
    assert not torch.equal(one.image, other.image)
    assert not torch.equal(make(4, "train", seed=5).image, one.image)


def error(clips, i: int, dx: float = 0, dy: float = 0) -> float:
    """Mean difference of frames t and frames t + 1 fetched along flow + (dx, dy).

    It is taken away from every border between objects, at t and where the flow leads.
    """
    at = torch.arange(64) + 0.5
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy")) + clips.flow[i]
    fetch = (grid + torch.tensor([dx, dy])[:, None, None]) / 32 - 1
    grid = (grid / 32 - 1).permute(0, 2, 3, 1)
    here, later = clips.instances[i, :-1, None].float(), clips.instances[i, 1:, None].float()
    landed = F.grid_sample(later, grid, mode="nearest", align_corners=False)
    smooth = -F.max_pool2d(-here, 5, 1, 2) == F.max_pool2d(here, 5, 1, 2)
    calm = -F.max_pool2d(-later, 5, 1, 2) == F.max_pool2d(later, 5, 1, 2)
    calm = F.grid_sample(calm.float(), grid, mode="nearest", align_corners=False) > 0
    good = (landed == here) & smooth & calm & (grid.abs().amax(-1) < 0.95)[:, None]
    fetched = F.grid_sample(clips.image[i, 1:], fetch.permute(0, 2, 3, 1),
                            align_corners=False)
    gap = (fetched - clips.image[i, :-1]).abs()
    return float(gap[good.expand_as(gap)].mean())


def test_flow_carries_the_picture_along(clips) -> None:
    """Half a pixel off in any direction fits clearly worse than the flow itself."""
    exact = sum(error(clips, i) for i in range(len(clips)))
    for dx, dy in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)):
        assert exact < 0.8 * sum(error(clips, i, dx, dy) for i in range(len(clips)))


def test_nothing_moves_when_told_so() -> None:
    made = data.clips(3, motion=0, deform=0, camera=0, occlusion=0, noise=0, frames=3)
    assert torch.equal(made.image[:, 0], made.image[:, 2])
    assert made.flow.abs().max() < 1e-3


def test_lookalikes_share_the_targets_material_and_count() -> None:
    made = data.clips(8, lookalikes=2, others=0, occlusion=0, seed=2)
    assert made.instances.max() == 3
    spread = [made.image[i, 0].permute(1, 2, 0)[made.instances[i, 0] == k].std(0).mean()
              for i in range(8) for k in (1, 2) if (made.instances[i, 0] == k).sum() > 50]
    assert min(spread) > 0.01  # textures, not flat colours


def test_a_post_hides_objects_in_the_middle_of_a_clip() -> None:
    plain, post = (data.clips(10, seed=3, occlusion=o, camera=0) for o in (0, 1))
    area = [(c.instances > 0).float().mean((0, 2, 3)) for c in (plain, post)]
    assert area[1][5] < area[0][5] - 0.02 and abs(area[1][0] - area[0][0]) < 0.02


@pytest.mark.parametrize("bad", [{"frames": 1}, {"others": 6}, {"radius": (0.2, 0.1)},
                                 {"occlusion": 2}, {"motion": 3}, {"lookalikes": -1}])
def test_clips_refuse_bad_options(bad) -> None:
    with pytest.raises(ValueError, match="need|must"):
        data.clips(1, **bad)


@pytest.fixture(scope="module")
def mattes() -> data.Mattes:
    return data.load("mattes", 16, "train", seed=1)


def test_composites_are_exact(mattes) -> None:
    mixed = mattes.alpha * mattes.foreground + (1 - mattes.alpha) * mattes.background
    assert (mixed - mattes.image).abs().max() < 1e-6
    assert 0 <= mattes.alpha.min() and mattes.alpha.max() <= 1
    assert mattes.kind.tolist() == [0, 1, 2, 3] * 4


def test_kinds_look_as_they_are_named(mattes) -> None:
    def soft(kind: str) -> float:
        alpha = mattes.alpha[mattes.kind == KINDS.index(kind)]
        return ((alpha > 0.02) & (alpha < 0.98)).sum() / (alpha > 0.02).sum()

    shares = {kind: float(soft(kind)) for kind in KINDS}
    assert shares["smoke"] > 0.7 and shares["lace"] < 0.5  # even smoke has a solid core
    assert shares["hair"] > 0.1 and shares["soft"] > 0.15
    solid = (mattes.alpha > 0.99).flatten(1).sum(1)
    assert solid.min() > 50  # so that a narrow trimap shows some foreground
    lace = mattes.alpha[mattes.kind == KINDS.index("lace")]
    away = F.max_pool2d(lace, 9, 1, 4) - lace  # holes: background amid foreground
    assert all((a > 0.95).sum() > 40 for a in away)


def test_overlap_pulls_the_means_together() -> None:
    gaps = []
    for overlap in (0.0, 1.0):
        made = data.mattes(30, "test", overlap=(overlap, overlap))
        gaps.append((made.foreground - made.background).mean((2, 3)).abs().mean())
    assert gaps[1] < 0.2 * gaps[0]


def test_trimap_marks_what_is_known(mattes) -> None:
    wide, thin = data.trimap(mattes.alpha, 6), data.trimap(mattes.alpha, 0)
    for marks in (wide, thin):
        assert set(marks.unique().tolist()) <= {0.0, 0.5, 1.0}
        assert (mattes.alpha[marks == 0] <= 0.01).all()
        assert (mattes.alpha[marks == 1] >= 0.99).all()
    assert ((thin == 0.5) <= (wide == 0.5)).all()
    mixed = (mattes.alpha > 0.01) & (mattes.alpha < 0.99)
    assert torch.equal(thin == 0.5, mixed)
    each = data.trimap(mattes.alpha[:2], torch.tensor([0.0, 6.0]))
    assert torch.equal(each[0], thin[0]) and torch.equal(each[1], wide[1])


def test_trimap_of_a_disc_has_the_width_asked_for() -> None:
    y, x = np.mgrid[:65, :65] - 32
    disc = torch.from_numpy((np.hypot(x, y) <= 16).astype(np.float32))[None, None]
    row = data.trimap(disc, 3)[0, 0, 32].tolist()
    assert row[32:65] == [1.0] * 14 + [0.5] * 6 + [0.0] * 13


@pytest.mark.parametrize("bad", [{"kinds": ()}, {"kinds": ("fur",)},
                                 {"overlap": (0.5, 0.2)}, {"overlap": (0, 2)}])
def test_mattes_refuse_bad_options(bad) -> None:
    with pytest.raises(ValueError, match="need|must"):
        data.mattes(1, **bad)
    with pytest.raises(ValueError, match="alpha"):
        data.trimap(torch.zeros(2, 3, 8, 8), 1)


@pytest.fixture(scope="module")
def stopping():
    return stop_and_go(9, "test", 64, seed=3, noise=0)


def test_stop_and_go_shapes_and_equal_bits(stopping) -> None:
    assert stopping.image.shape == (9, 10, 3, 64, 64) and len(stopping) == 9
    assert stopping.flow.shape == (9, 10, 2, 64, 64)
    assert stopping.kind.tolist() == [0, 1, 2] * 3 and len(STOP_AND_GO) == 3
    assert set(stopping.instances.unique().tolist()) == {0, 1, 2}
    again, other = (stop_and_go(9, "test", 64, seed=s, noise=0) for s in (3, 4))
    assert all(torch.equal(getattr(again, k), getattr(stopping, k)) for k in vars(again))
    assert not torch.equal(other.image, stopping.image)
    assert not torch.equal(stop_and_go(9, "train", 64, seed=3).image, stopping.image)


def test_the_three_kinds_move_when_their_names_say(stopping) -> None:
    for moves, kind in zip(stopping.moves, stopping.kind):
        changes = moves.int().diff().tolist()
        wanted = {"stops": [-1], "starts": [1], "pauses": [-1, 1]}[STOP_AND_GO[kind]]
        assert [c for c in changes if c] == wanted and 0 < moves.sum() < 10


def test_the_lookalike_and_the_camera_stand_still_and_stillness_is_exact(stopping) -> None:
    for i in range(9):
        twin = stopping.instances[i] == 2
        assert (twin == twin[0]).all()
        image, moves = stopping.image[i], stopping.moves[i]
        for t in range(9):
            assert torch.equal(image[t], image[t + 1]) != bool(moves[t])
            moved = (image[t] != image[t + 1]).any(0)
            assert not (moved & twin[0]).any()
        assert (stopping.flow[i][:, :, twin[0]] == 0).all()


def test_stop_and_go_flow_is_the_way_of_the_target(stopping) -> None:
    at = torch.stack(torch.meshgrid(*2 * [torch.arange(64.0)], indexing="xy"))
    for i in range(9):
        target = stopping.instances[i] == 1
        middle = torch.stack([at[:, mask].mean(1) for mask in target])       # (10, 2)
        flow = torch.stack([stopping.flow[i, t][:, target[t]].mean(1) for t in range(10)])
        assert (middle.diff(dim=0) - flow[:-1]).abs().max() < 0.35
        assert (flow.norm(dim=1) > 1).equal(stopping.moves[i])


def test_the_two_objects_never_touch_and_stay_inside(stopping) -> None:
    known = stopping.instances.flatten(0, 1)
    wide = F.max_pool2d((known == 1).float(), 3, 1, 1)
    assert not (wide.bool() & (known == 2)).any()
    edge = torch.ones(64, 64, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert not (known[:, edge] > 0).any()


def test_the_two_objects_are_exchangeable() -> None:
    """On standing frames, areas and places of target and look-alike have equal means."""
    made = stop_and_go(120, "train", 48, seed=5)
    first = torch.stack([c[~m][0] for c, m in zip(made.instances, made.moves)])
    rows = torch.arange(48.0)[:, None]
    for measure in (lambda m: m.float().sum((1, 2)),
                    lambda m: (m * rows).sum((1, 2)) / m.sum((1, 2)),
                    lambda m: (m * rows.T).sum((1, 2)) / m.sum((1, 2))):
        gap = measure(first == 1) - measure(first == 2)
        assert gap.mean().abs() < 3 * gap.std() / 120**0.5


@pytest.mark.parametrize("bad", [{"frames": 7}, {"frames": 13}, {"radius": (0.2, 0.1)},
                                 {"radius": (0.18, 0.2)}, {"step": (0.0, 0.05)},
                                 {"step": (0.03, 0.09)}, {"noise": -1}])
def test_stop_and_go_refuses_bad_options(bad) -> None:
    with pytest.raises(ValueError, match="need|must"):
        stop_and_go(1, **bad)


@pytest.mark.parametrize("hard", [{"radius": (0.15, 0.2), "step": (0.06, 0.06)},
                                  {"frames": 12}, {"frames": 8}])
def test_stop_and_go_ends_at_the_limits(hard) -> None:
    assert stop_and_go(6, size=48, **hard).image.isfinite().all()
