"""Drift: the stated rate of false alarms holds, and what changes at a station is seen."""

import dataclasses
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, energy_distance

from lineact.drift.blocks import (
    GROUPS,
    Blocks,
    SampleParams,
    TooLittleVideoError,
    colours_of,
    frames_to_blocks,
    read_blocks,
    sample_videos,
    shapes_of,
    stack,
    write_blocks,
)
from lineact.drift.judge import _energy, alarms, judge
from lineact.drift.policy import Rate
from lineact.errors import InputError

LABELS = ("screw", "wipe", "NG")
SIZES = {
    "light": 5,
    "view": 144,
    "hands": 5,
    "places": 144,
    "confidence": 3,
    "actions": 3,
    "colours": 64,
    "shapes": 128,
}
DAILY = Rate(alarms_per_year=1.0, every_h=24.0)
OFTEN = Rate(alarms_per_year=12.0, every_h=24.0)  # fewer permutations, a twelfth of the time


def blocks(seed: int, count: int, **shifts: float) -> Blocks:
    """Rows of noise whose numbers hang together, moved by so many standard deviations."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        shared = rng.normal()
        rows.append({group: rng.normal(size=SIZES[group]) + shared + shifts.get(group, 0.0) for group in GROUPS})
    return stack(rows, LABELS)


def test_where_nothing_changed_no_more_looks_alarm_than_stated():
    """Looks share a reference, and the groups of a look hang together: the share holds all the same, on average."""
    rate = Rate(alarms_per_year=50.0, every_h=24.0)  # a look in seven, so that few looks show it
    looks, wrong = 120, 0
    for number in range(looks):
        reference = blocks(1000 + number // 4, 20)
        wrong += bool(alarms(judge(reference, blocks(5000 + number, 10), rate)))
    assert wrong <= binom.ppf(0.999, looks, rate.level)


@pytest.mark.parametrize("group", GROUPS)
def test_a_change_of_one_group_is_found_there(group):
    findings = judge(blocks(1, 40), blocks(2, 15, **{group: 2.0}), OFTEN)
    assert [finding.group for finding in alarms(findings)] == [group]
    (found,) = alarms(findings)
    assert found.p_value is not None
    assert found.p_value <= OFTEN.level / len(GROUPS)
    assert all(by > 0 for _, by in found.moved)
    assert f"{group}: changed (p = " in found.words()
    others = [finding.words() for finding in findings if finding.group != group]
    assert all("as before" in words for words in others)


def test_the_level_is_a_share_of_looks():
    assert DAILY.level == pytest.approx(1 / 365.25)
    assert Rate(1.0, 1.0).level == pytest.approx(1 / 8766)
    for per_year, every_h in ((0.0, 24.0), (1.0, 0.0), (400.0, 24.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="expected"):
            Rate(per_year, every_h)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=12), st.lists(st.floats(-50, 50), min_size=1, max_size=12))
def test_the_statistic_is_the_energy_distance(ours, theirs):
    rows = np.array(ours + theirs)
    distances = np.abs(rows[:, None] - rows[None])
    found = _energy(distances, np.arange(len(ours)), 0)
    assert found == pytest.approx(energy_distance(ours, theirs) ** 2, abs=1e-9)


def test_too_few_blocks_are_told_and_not_judged():
    with pytest.raises(TooLittleVideoError, match="expected more blocks, found 4 of the reference and 3 now"):
        judge(blocks(1, 4), blocks(2, 3), DAILY)


def test_a_video_that_is_removed_before_its_turn_is_told(tmp_path):
    gone = tmp_path / "gone.mkv"
    with pytest.raises(InputError, match=r"found less; .*gone.mkv: removed before it was looked at"):
        sample_videos([gone], SimpleNamespace(labels=LABELS), SampleParams(), 0)  # type: ignore[arg-type]
    with pytest.raises(TooLittleVideoError, match=r"expected at least 20 s of video, found less$"):
        sample_videos([], SimpleNamespace(labels=LABELS), SampleParams(), 0)  # type: ignore[arg-type]


def test_blocks_without_a_hand_say_nothing_of_hands():
    reference, now = blocks(1, 40), blocks(2, 15)
    for group in ("confidence", "actions", "shapes"):
        now.groups[group][3:] = np.nan
    findings = {finding.group: finding for finding in judge(reference, now, OFTEN)}
    assert findings["shapes"].p_value is not None  # three of 43 blocks: one choice in 12,341
    for group in ("confidence", "actions", "shapes"):
        now.groups[group][1:] = np.nan
    findings = {finding.group: finding for finding in judge(reference, now, OFTEN)}
    assert findings["shapes"].p_value is None
    assert findings["shapes"].words() == "shapes: too few blocks to say"
    assert not alarms(list(findings.values()))


def test_the_same_samples_give_the_same_verdict():
    assert judge(blocks(1, 30), blocks(2, 12), OFTEN) == judge(blocks(1, 30), blocks(2, 12), OFTEN)


def test_many_blocks_are_thinned():
    findings = judge(blocks(1, 300), blocks(2, 250, light=2.0), OFTEN)
    assert [finding.group for finding in alarms(findings)] == ["light"]


def test_a_reference_is_of_one_release(tmp_path):
    path, params = tmp_path / "a.npz", SampleParams(1.0, 10.0)
    kept = blocks(1, 12)
    write_blocks(path, kept, params, "f00d")
    read, with_params = read_blocks(path, "f00d")
    assert with_params == params
    assert read.names == kept.names
    for group in GROUPS:
        np.testing.assert_array_equal(read.groups[group], kept.groups[group])
    with pytest.raises(InputError, match=r"expected the reference of this release, found another's; .* REFERENCE=yes"):
        read_blocks(path, "beef")
    with pytest.raises(InputError, match=r"found nothing; .* REFERENCE=yes"):
        read_blocks(tmp_path / "none.npz", "f00d")
    path.write_bytes(b"torn")
    with pytest.raises(InputError, match="expected a reference, found something else"):
        read_blocks(path, "f00d")
    other = stack([{group: rows[0] for group, rows in kept.groups.items()}], ("a", "b", "NG"))
    with pytest.raises(InputError, match="take the reference anew"):
        judge(kept, other, DAILY)


class Blind:
    """A pair that sees no hand."""

    labels = LABELS

    def detect(self, image_rgb):  # noqa: ARG002
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)

    def crops(self, image_rgb, boxes_xyxy_px):  # noqa: ARG002
        return np.zeros((0, 32, 32, 3), np.uint8)

    def classify(self, crops_rgb):
        return np.zeros((len(crops_rgb), len(LABELS)), np.float32)


def test_blocks_are_of_whole_time_and_gaps_begin_new_ones():
    image = np.full((40, 60, 3), 90, np.uint8)
    times = [*np.arange(0, 25, 1.0), *np.arange(100, 104, 1.0)]  # two blocks, then too little twice
    found = frames_to_blocks([(at_s, image) for at_s in times], Blind(), SampleParams(1.0, 10.0))
    assert len(found) == 2
    assert found.groups["light"][0][0] == pytest.approx(90)
    assert found.groups["hands"][0][:2].tolist() == [0, 0]
    assert np.isnan(found.groups["shapes"]).all()
    with pytest.raises(ValueError, match="at least two frames a block"):
        SampleParams(0.1, 10.0)


# What a simulated station shows. A block is a recording of its own: each has its worker, litter and light.
SAMPLES = SampleParams(fps=1.0, block_s=20.0)
SIZE_WH = (320, 180)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from lineact.bundle import load_bundle
    from tests.embedded_pair import write_bundle

    return load_bundle(write_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def station(pair):
    """Gives the blocks of recordings of the station `demo`, changed as asked."""
    import cv2

    from lineact.simulation.render import View, render_frames
    from lineact.simulation.stations import STATIONS

    cv2.setNumThreads(1)

    def rows_of(number, shown, change):
        frames = render_frames(shown, View(SIZE_WH, 1, 20.0, 23, 2.0), (0, number))
        pictures = ((float(at), change(frame)) for at, (frame, _) in enumerate(frames))
        return frames_to_blocks(pictures, pair, SAMPLES)

    def show(numbers, shown=STATIONS["demo"], change=lambda frame: frame):
        parts = [rows_of(number, shown, change) for number in numbers]
        return Blocks(
            {group: np.concatenate([part.groups[group] for part in parts]) for group in GROUPS}, parts[0].names
        )

    return cache_of_stationary(show)


def cache_of_stationary(show):
    @cache
    def stationary(numbers):
        return show(numbers)

    show.stationary = stationary
    return show


def darker(frame):
    return np.clip(frame * np.array([0.8, 0.8, 0.75]), 0, 255).astype(np.uint8)


def nudged(frame):
    """The camera was pushed by 1.5 % of the picture."""
    padded = np.pad(frame, ((4, 4), (6, 6), (0, 0)), mode="edge")
    return padded[: frame.shape[0], : frame.shape[1]]


def new_action():
    from lineact.simulation.stations import STATIONS, Movement

    inspect = Movement("inspect", "spread", ("plate",), ((120, 110), (150, 90)), "wave", 0.8, (4.0, 6.0))
    steps = STATIONS["demo"].steps
    # a recording of 20 s shows the first few steps of a cycle
    return dataclasses.replace(STATIONS["demo"], steps=(inspect, *steps))


FIRST, LOOKED_AT = range(48), range(2000, 2024)  # 16 minutes of reference, looks of 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_stationary_stretch_raises_no_alarm(station):
    reference = station.stationary(FIRST)
    for look in range(2):
        findings = judge(reference, station(range(1000 + 24 * look, 1024 + 24 * look)), DAILY)
        assert not alarms(findings), [finding.words() for finding in findings]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "group"), [("light", "light"), ("nudge", "view"), ("gloves", "colours"), ("action", "places")]
)
def test_what_changes_at_a_station_is_found(station, kind, group, monkeypatch):
    reference = station.stationary(FIRST)
    if kind == "light":
        now = station(LOOKED_AT, change=darker)
    elif kind == "nudge":
        now = station(LOOKED_AT, change=nudged)
    elif kind == "gloves":
        monkeypatch.setattr("lineact.simulation.render.GLOVES", ((230, 110, 20), (230, 110, 20)))
        now = station(LOOKED_AT)
    else:
        now = station(LOOKED_AT, shown=new_action())
    findings = judge(reference, now, DAILY)
    print(kind, [finding.words() for finding in findings])
    found = {finding.group for finding in alarms(findings)}
    assert group in found
    if kind in ("gloves", "action"):
        assert not found & {"light", "view"}


def test_colours_and_shapes_are_of_the_hand_and_rows_of_shares():
    rng = np.random.default_rng(0)
    crops_rgb = rng.integers(0, 256, (5, 40, 40, 3), np.uint8)
    crops_rgb[0, 10:30, 10:30] = (230, 110, 20)  # its middle; the rest is none of its colours
    colours, shapes = colours_of(crops_rgb), shapes_of(crops_rgb)
    assert colours.sum(axis=1) == pytest.approx(1)
    assert colours[0].max() == 1
    names = stack([row_of(colours, shapes)], LABELS).names
    assert names["colours"][int(colours[0].argmax())] == "about rgb(224, 96, 32)"
    assert np.linalg.norm(shapes, axis=1) == pytest.approx(1)
    upright = np.zeros((1, 48, 48, 3), np.uint8)
    upright[:, :, 30:] = 200  # an edge from top to bottom, brighter to the right
    names_of_edges = [names["shapes"][index] for index in np.flatnonzero(shapes_of(upright)[0] > 0.1)]
    assert names_of_edges == [f"edges of part {part} to 0 degrees" for part in (3, 7, 11, 15)]
    assert colours_of(crops_rgb[:0]).shape == (0, 64)
    assert shapes_of(crops_rgb[:0]).shape == (0, 128)


def row_of(colours, shapes):
    row = {group: np.zeros(size) for group, size in SIZES.items()}
    return row | {"colours": colours[0], "shapes": shapes[0]}
