"""A localiser from features to segments: trained, killed, saved, loaded, and asked about videos."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lineact.errors import InputError
from lineact.temporal.average_precision import average_precision
from lineact.temporal.features import ClipParams, Features, Rate, clips_of, read_features, write_features
from lineact.temporal.features.extraction import extract_once
from lineact.temporal.features.opening import ExtractorParams, student_of
from lineact.temporal.features.student import PLACE, extract, row_of
from lineact.temporal.follow import Clips, Follower, FollowParams
from lineact.temporal.heads import DecodeParams, PyramidParams
from lineact.temporal.localize import in_order, main
from lineact.temporal.localizer import MARGIN_ROWS, WINDOW_ROWS, Localizer, load_localizer, save_localizer
from lineact.temporal.parts import Example
from lineact.temporal.segments import segments_of
from lineact.temporal.spec import in_windows
from lineact.temporal.subtitles import srt_of, vtt_of
from lineact.temporal.training import LocalizerTraining, check_examples, train_localizer
from tests.generated_videos import scene, write_video
from tests.training_sets import fit_params

LABELS = ("fix", "turn")
CLIPS = ClipParams(fps=5.0, stack=1, step=1)
STUDENT_ROWS = ExtractorParams("student", None, None, None, 1)
PARAMS = LocalizerTraining(
    PyramidParams("temporalmaxer", 16, 3, 0, 1, 5, 3, 0.0, 1.5, 0.0),
    DecodeParams(0.01, 500, 50, 0.05, 0.5, 0.7),
    fit_params(epochs=30, patience=30, batch_size=4, lr=0.01, warmup_epochs=1.0),
    noise=0.05,
    seed=0,
)


def example(number, rows=60):
    """A video of two actions whose rows tell them, and one whose label nobody asks for."""
    rng = np.random.default_rng(number)
    values = rng.normal(0, 0.2, (rows, 3)).astype(np.float32)
    starts = rng.integers(2, 10), rng.integers(25, 32)
    lengths = rng.integers(6, 14, size=2)
    truth = []
    for kind, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        values[start : start + length, kind] += 1
        truth.append((f"v{number}", float(start / 5), float((start + length) / 5), LABELS[kind], 1.0))
    truth.append((f"v{number}", 10.0, 11.0, "sneeze", 1.0))
    return Example(Features(f"v{number}", (np.arange(rows) + 0.5) / 5, values, rows / 5), segments_of(truth))


TRAIN, VAL = [example(number) for number in range(12)], [example(number) for number in range(50, 53)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_localizer(PARAMS, LABELS, STUDENT_ROWS, CLIPS, TRAIN, VAL, tmp_path_factory.mktemp("training"))


def test_it_finds_the_actions_of_videos_that_it_never_saw(trained):
    localizer, history = trained
    assert len(history) == PARAMS.fit.epochs
    unseen = [example(number) for number in range(90, 96)]
    rows = [row for one in unseen for row in columns_of(localizer.segments(one.features))]
    truth = [row for one in unseen for row in columns_of(one.truth) if row[3] in LABELS]
    score = average_precision(segments_of(truth), segments_of(rows), (0.3, 0.5)).average
    print(score, history[-1])
    assert score > 0.85


def columns_of(segments):
    columns = (segments.videos, segments.start_s, segments.end_s, segments.labels, segments.scores)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_killed_training_ends_as_the_one_that_nobody_killed(trained, tmp_path, monkeypatch):
    import lineact.training.loop as loop

    save, calls = loop.save_state, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(loop, "save_state", dies)
    with pytest.raises(KeyboardInterrupt):
        train_localizer(PARAMS, LABELS, STUDENT_ROWS, CLIPS, TRAIN, VAL, tmp_path)
    localizer, history = train_localizer(PARAMS, LABELS, STUDENT_ROWS, CLIPS, TRAIN, VAL, tmp_path)
    assert history == trained[1]
    assert columns_of(localizer.segments(VAL[0].features)) == columns_of(trained[0].segments(VAL[0].features))


def followed(trained, one, params):
    """(time when it was told, segment) of a video whose rows come one after the other."""
    follower = Follower(trained[0], one.features.video, params)
    told = []
    for time_s, row in zip(one.features.times_s, one.features.values, strict=True):
        told += [(time_s, segment) for segment in follower.push(time_s, row)]
    return told + [(one.features.duration_s, segment) for segment in follower.close(one.features.duration_s)]


@pytest.mark.parametrize("window_s", [60.0, 8.0])
def test_segments_of_a_running_video_are_told_once_and_soon(trained, window_s):
    params = FollowParams(window_s=window_s, wait_s=1.0, min_score=0.3)
    unseen = [example(number) for number in range(90, 96)]
    told = [one for video in unseen for one in followed(trained, video, params)]
    truth = [row for one in unseen for row in columns_of(one.truth) if row[3] in LABELS]
    found = segments_of(segment for _, segment in told)
    assert average_precision(segments_of(truth), found, (0.3, 0.5)).average > 0.8
    assert len(found) <= len(truth) + 2  # not again and again
    for time_s, (_, start_s, end_s, _, _) in told:
        assert 0 <= start_s < end_s <= time_s <= end_s + 2.0


def test_clips_of_a_running_video_are_those_of_a_whole_one():
    times_s, values = np.arange(23) / 10, np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
    params = ClipParams(fps=10.0, stack=5, step=3)
    clips = Clips(params)
    pushed = [one for one in map(clips.push, times_s.tolist(), values) if one is not None]
    whole_times_s, whole = clips_of(times_s, values, params)
    assert [time_s for time_s, _ in pushed] == pytest.approx(whole_times_s.tolist())
    np.testing.assert_allclose(np.stack([row for _, row in pushed]), whole, atol=1e-6)


def test_a_running_video_that_is_no_clip_has_no_segments(trained):
    assert Follower(trained[0], "v", FollowParams()).close(0.0) == []


def test_a_saved_localiser_says_the_same(trained, tmp_path):
    save_localizer(tmp_path / "localizer", trained[0])
    loaded = load_localizer(tmp_path / "localizer")
    assert loaded.spec == trained[0].spec
    assert columns_of(loaded.segments(VAL[0].features)) == columns_of(trained[0].segments(VAL[0].features))
    (tmp_path / "localizer/localizer.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"expected a localiser.*found something else"):
        load_localizer(tmp_path / "localizer")
    with pytest.raises(InputError, match=r"found no localizer\.json"):
        load_localizer(tmp_path)


def test_a_long_video_is_looked_at_in_windows_and_none_of_its_actions_is_lost():
    rows = 3 * WINDOW_ROWS + 77
    times_s = 0.5 + np.arange(rows)
    truth = [("v", at, at + 40.0, "fix", 1.0) for at in range(0, rows, 100) if at + 40 <= rows]
    sizes = []

    def segments_in(part):
        sizes.append(len(part.times_s))
        shift_s = float(part.values[0, 0]) - part.times_s[0]  # each row tells its own time
        cut = [(max(a - shift_s, 0.0), min(b - shift_s, part.duration_s)) for _, a, b, _, _ in truth]
        return segments_of(("v", a, b, "fix", 0.9) for a, b in cut if a < b)

    video = Features("v", times_s, times_s[:, None].astype(np.float32), float(rows))
    found = in_windows(video, WINDOW_ROWS, MARGIN_ROWS, segments_in)
    assert max(sizes) == WINDOW_ROWS
    assert len(sizes) == 4
    assert sorted(row[1:3] for row in columns_of(found)) == [row[1:3] for row in truth]


def test_the_windows_of_a_long_video_agree_with_its_whole(trained, monkeypatch):
    parts = [example(number).features.values for number in range(200, 212)]
    values = np.concatenate(parts)
    features = Features("v", (np.arange(len(values)) + 0.5) / 5, values, len(values) / 5)
    whole = trained[0].segments(features)
    monkeypatch.setattr("lineact.temporal.localizer.WINDOW_ROWS", 256)
    monkeypatch.setattr("lineact.temporal.localizer.MARGIN_ROWS", 64)
    in_parts = trained[0].segments(features)
    sure, again = (columns_of(in_order(one.take(one.scores > 0.5))) for one in (whole, in_parts))
    assert len(sure) == len(again) >= 20
    for one, other in zip(sure, again, strict=True):
        assert one[3] == other[3]
        assert np.allclose([*one[1:3], one[4]], [*other[1:3], other[4]], atol=0.05)
    most = trained[0].spec.decode.most_after
    assert len(in_parts) > most >= len(whole)  # of each window, not of the whole shift


def test_two_parts_of_one_recording_teach_and_validate():
    """The length of the validating part was taken for that of the recording, and its segments refused."""
    whole = TRAIN[0]
    longer = replace(whole.features, duration_s=60.0)
    late = segments_of([("v0", 40.0, 41.0, "fix", 1.0), ("v0", 42.0, 43.0, "turn", 1.0)])
    check_examples(LABELS, [replace(whole, features=longer, truth=late)], [whole])
    with pytest.raises(InputError, match="within the video"):
        check_examples(LABELS, [replace(whole, truth=late)], [whole])


def test_rows_of_two_makers_do_not_teach_together(tmp_path):
    one, other = (
        replace(each, features=replace(each.features, made_by=by)) for each, by in zip(TRAIN[:2], "ab", strict=True)
    )
    with pytest.raises(InputError, match="expected rows that one extractor made, found those of 2"):
        train_localizer(PARAMS, LABELS, STUDENT_ROWS, CLIPS, [one, other], VAL, tmp_path)


def test_features_of_another_kind_are_refused(trained):
    other = replace(VAL[0].features, values=np.zeros((60, 4), np.float32))
    with pytest.raises(InputError, match=r"v50: expected features of 3 numbers.*found 4"):
        trained[0].segments(other)


def test_a_video_without_any_action_has_no_sure_segment(trained):
    quiet = replace(VAL[0].features, values=np.random.default_rng(0).normal(0, 0.2, (60, 3)).astype(np.float32))
    found = trained[0].segments(quiet)
    assert not (found.scores > 0.3).any()


@pytest.mark.parametrize(
    ("train", "val", "told"),
    [
        ([], VAL, "found 0 and 3"),
        (TRAIN, [], "found 12 and 0"),
        ([replace(TRAIN[0], truth=segments_of([("v0", 1.0, 2.0, "fix", 1.0)]))], VAL, "of every action.*none of turn"),
        ([replace(TRAIN[0], truth=segments_of([("v0", 1.0, 99.0, "fix", 1.0)]))], VAL, r"v0: expected an end within"),
    ],
)
def test_what_cannot_be_learnt_is_refused(train, val, told, tmp_path):
    with pytest.raises(InputError, match=told):
        train_localizer(PARAMS, LABELS, STUDENT_ROWS, CLIPS, train, val, tmp_path)


def test_clips_are_means_with_the_time_of_their_middle():
    times_s, values = np.arange(7) / 10, np.arange(14, dtype=np.float32).reshape(7, 2)
    clip_times_s, rows = clips_of(times_s, values, ClipParams(10.0, 4, 2))
    assert np.allclose(clip_times_s, [0.15, 0.35])
    assert np.allclose(rows, [values[0:4].mean(axis=0), values[2:6].mean(axis=0)])
    assert clips_of(times_s[:3], values[:3], ClipParams(10.0, 4, 2))[1].shape == (0, 2)


@pytest.mark.parametrize(("fps", "count"), [(10.0, 30), (5.0, 15), (30.0, 30), (4.0, 12)])
def test_frames_are_taken_at_a_rate_whatever_the_camera_s(fps, count):
    rate = Rate(fps)
    assert sum(rate.takes(7.0 + number / 10) for number in range(30)) == count


def test_after_a_gap_nothing_is_caught_up_on():
    rate = Rate(5.0)
    taken = [pts_s for pts_s in [0.0, 0.1, 0.2, 9.0, 9.1, 9.2, 9.3, 9.4] if rate.takes(pts_s)]
    assert taken == [0.0, 0.2, 9.0, 9.2, 9.4]


def test_files_of_features_come_back_and_wrong_ones_are_told(tmp_path):
    path = tmp_path / "v.npz"
    write_features(path, VAL[0].features)
    again = read_features(path)
    assert (again.video, again.duration_s) == ("v50", 12.0)
    assert np.array_equal(again.values, VAL[0].features.values)
    write_features(path, replace(VAL[0].features, duration_s=5.0))
    with pytest.raises(InputError, match=r"expected rows within the video's 5 s, found them from 0\.1 to 11\.9 s"):
        read_features(path)
    write_features(path, replace(VAL[0].features, times_s=VAL[0].features.times_s[:-1]))
    with pytest.raises(InputError, match=r"a time for each row, found times_s \(59,\) and values \(60, 3\)"):
        read_features(path)
    path.write_bytes(b"torn")
    with pytest.raises(InputError, match="found something else"):
        read_features(path)
    np.savez(path, video=np.array({"a": 1}, dtype=object))
    with pytest.raises(InputError, match="found something else"):
        read_features(path)


def test_a_row_of_the_pair_tells_what_hands_do_and_where():
    class Scripted:
        labels = ("fix", "NG")

        order: list[int]

        def detect(self, image_rgb):
            assert image_rgb.shape == (40, 80, 3)
            return np.array([[0, 0, 20, 10], [20, 10, 40, 30]], np.float32)[self.order], np.array([0.9, 0.8])

        def crops(self, image_rgb, boxes_xyxy_px):
            assert image_rgb.shape == (40, 80, 3)
            return boxes_xyxy_px

        def classify(self, crops_rgb):
            return np.where(crops_rgb[:, :1] > 0, [[0.2, 0.8]], [[1.0, 0.0]])

    pair = Scripted()
    pair.order = [0, 1]
    row = row_of(pair, np.zeros((40, 80, 3), np.uint8))
    pair.order = [1, 0]
    assert np.allclose(row, row_of(pair, np.zeros((40, 80, 3), np.uint8)))
    assert row[-1] == 2
    fix = row[:PLACE]
    first, second = np.array([1, -0.375, -0.375, 0.25, 0.25]), np.array([1, -0.125, 0.0, 0.25, 0.5])
    assert np.allclose(fix, first + 0.2 * second)


def test_subtitles():
    found = segments_of([("v", 1.0, 3661.5, "fix <a> & b\n\nc", 0.5)])
    assert srt_of(found) == "1\n00:00:01,000 --> 01:01:01,500\nfix <a> & b c 0.50\n"
    assert vtt_of(found) == "WEBVTT\n\n00:00:01.000 --> 01:01:01.500\nfix &lt;a&gt; &amp; b c 0.50\n"
    assert (srt_of(segments_of([])), vtt_of(segments_of([]))) == ("", "WEBVTT\n")


def test_the_command_writes_segments_subtitles_and_a_timeline(released, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = write_video(tmp_path / "clip.mp4", [scene(number) for number in range(40)])
    student = student_of(released / "export/bundle")
    features = extract_once(student, video, "clip.mp4", CLIPS).features
    assert features.values.shape == (20, PLACE * len(student.pair.labels) + 1)
    taught = Example(features, segments_of([("clip.mp4", 0.5, 1.5, "fix", 1.0), ("clip.mp4", 2.0, 3.5, "turn", 1.0)]))
    training = replace(PARAMS, fit=fit_params(epochs=2))
    localizer, _ = train_localizer(training, LABELS, STUDENT_ROWS, CLIPS, [taught], [taught], tmp_path / "training")
    save_localizer(tmp_path / "localizer", localizer)
    folders = ["--bundle", str(released / "export/bundle"), "--localizer", str(tmp_path / "localizer")]
    out = tmp_path / "out"
    assert main([*folders, "--out", str(out), "--min-score", "0", str(video)]) == 0
    found = json.loads((out / "segments.json").read_text())["results"]["clip.mp4"]
    printed = capsys.readouterr().out
    assert f"{len(found)} actions" in printed
    assert [one["segment"][0] for one in found] == sorted(one["segment"][0] for one in found)
    assert (out / "segments.csv").read_text().count("\n") == len(found) + 1
    assert (out / "clip.srt").is_file()
    assert (out / "clip.vtt").read_text().startswith("WEBVTT")
    assert (out / "clip.png").stat().st_size > 5000
    assert main([*folders, "--out", str(out), str(tmp_path / "none.mp4")]) == 3
    short = ["--bundle", str(released / "export/bundle"), "--localizer", str(tmp_path)]
    assert main([*short, str(video)]) == 3
    assert len(in_order(localizer.segments(features))) == len(localizer.segments(features))
    other = replace(localizer.spec, made_by="0" * 64)  # the localiser of another release of the line
    save_localizer(tmp_path / "localizer", Localizer(other, localizer.network))
    for wanted in ([], ["--follow"]):
        capsys.readouterr()
        assert main([*folders, *wanted, str(video)]) == 3
        assert (
            "expected the student whose rows the localiser learnt with (000000000000), found" in capsys.readouterr().err
        )


def test_videos_whose_files_would_be_one_and_scores_that_are_none_are_refused(tmp_path, capsys):
    paths = [tmp_path / shift / "clip.mp4" for shift in ("early", "late")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"")
    assert main(["--localizer", str(tmp_path), *map(str, paths)]) == 3
    assert "expected videos of different names" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--localizer", str(tmp_path), "--min-score", "2", "--follow", str(paths[0])])
    assert "--min-score: expected 0 to 1, found 2" in capsys.readouterr().err


def test_a_video_shorter_than_a_clip_is_told(released, tmp_path):
    from lineact.bundle import load_bundle

    video = write_video(tmp_path / "clip.mp4", [scene()] * 10)
    with pytest.raises(InputError, match=r"at least one clip, 16 frames at 5 a second, found 5 frames"):
        extract(load_bundle(released / "export/bundle"), video, "clip", ClipParams(5.0, 16, 4))
