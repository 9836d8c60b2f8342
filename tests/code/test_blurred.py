"""Videos imported with regions blurred: the copies show the rest, and the line gets nothing else."""

import sys

import cv2
import numpy as np
import pytest

from flows.blurred import blur_of, blur_videos
from lineact.errors import ConfigError
from lineact.video import read_frames
from tests.generated_videos import write_video


def test_the_copies_have_the_same_times_and_nothing_to_be_seen_in_the_region(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [cv2.resize(rng.integers(0, 256, (24, 32, 3), np.uint8), (128, 96)) for _ in range(5)]
    path = write_video(tmp_path / "raw" / "cell" / "rec.mp4", pictures, [index / 10 for index in range(5)])
    (tmp_path / "raw" / "broken.mp4").write_bytes(b"no video")
    blur = blur_of("0,0,0.5,0.5;0.9,0.9,1,1", "")
    assert blur is not None
    found = [tmp_path / "raw" / "broken.mp4", path]
    copies = blur_videos(found, tmp_path / "raw", tmp_path / "copies", blur)
    assert copies == [tmp_path / "copies/cell/rec.mp4.mkv"]
    before, after = list(read_frames(path)), list(read_frames(copies[0]))
    assert [round(frame.pts_s, 2) for frame in after] == [round(frame.pts_s, 2) for frame in before]
    for frame, original in zip(after, before, strict=True):
        hidden, shown = frame.image_rgb[4:44, 4:60].astype(int), original.image_rgb[4:44, 4:60].astype(int)
        assert np.abs(np.diff(hidden, axis=1)).mean() < 0.5 * np.abs(np.diff(shown, axis=1)).mean()
        rest = (slice(52, 84), slice(70, 110))
        assert np.abs(frame.image_rgb[rest].astype(int) - original.image_rgb[rest]).mean() < 6


@pytest.mark.parametrize(
    ("regions", "faces", "words"),
    [
        ("0,0,1", "", "BLUR_REGIONS=0,0,1: expected x1,y1,x2,y2"),
        ("0,0,2,1", "", "expected x1 < x2 and y1 < y2 from 0 to 1"),
        ("a,b,c,d", "", "could not convert string to float"),
        ("", "maybe", "BLUR_FACES=maybe: expected yes or no"),
    ],
)
def test_what_cannot_be_read_is_said(regions, faces, words):
    with pytest.raises(ConfigError, match=words):
        blur_of(regions, faces)


def test_a_line_is_not_made_where_its_faces_cannot_be_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ConfigError, match=r"BLUR_FACES.* expected scikit-image, .*lineact\[faces\]"):
        blur_of("", "yes")


def test_nothing_asked_is_nothing_done():
    assert blur_of("", "") is None
    assert blur_of("", "no") is None
