"""Inputs that somebody made to do harm: a video, a picture, a label file, a list of files."""

import ast
import csv
import json
import resource
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineact.annotations import read_annotations
from lineact.errors import InputError
from lineact.exchange.yolo import names_of
from lineact.import_crops import import_crops
from lineact.imported.reading import decode_picture
from lineact.imported.yolo import read_yolo_set
from lineact.video import opened_video, read_frames, video_facts
from tests.generated_videos import scene, write_video
from tests.labelled_pictures import crops_params, write_class_folders, write_picture

ROOT = Path(__file__).resolve().parents[2]
VAST = 13_000  # pixels; a picture of so many rows and columns is 0.5 GB unpacked, and packed 160 KB
MOST_MB = 500


def vast_png(side: int) -> bytes:
    """A grey picture of side x side pixels that packs well."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    packer = zlib.compressobj(9)
    row = bytes(1 + side)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write_growing_video(path: Path) -> Path:
    """Eleven frames, 64 x 48 as the head says; the second one is vast."""
    import av

    small = av.VideoFrame.from_ndarray(np.zeros((48, 64), np.uint8), format="gray")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        packets = []
        for pts in (0, *range(2, 11)):
            small.pts, small.time_base = pts, Fraction(1, 10)
            packets += stream.encode(small)
        vast = av.Packet(vast_png(VAST))
        vast.pts = vast.dts = 1
        for packet in (packets[0], vast, *packets[1:], *stream.encode()):
            packet.stream, packet.time_base = stream, Fraction(1, 10)
            container.mux(packet)
    return path


def test_a_frame_of_absurd_size_is_left_out_before_it_is_unpacked(tmp_path):
    path = write_growing_video(tmp_path / "grows.mov")
    code = (
        "import resource, sys; from pathlib import Path; from lineact.video import read_frames;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; broken = [];"
        "found = [frame.image_rgb.shape for frame in read_frames(Path(sys.argv[1]), broken_pts_s=broken)];"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "print(len(found), set(found), len(broken), (after - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, shapes, rest = done.stdout.replace("{", "|").replace("}", "|").split("|")
    broken, mb = map(int, rest.split())
    assert shapes == "(48, 64, 3)"
    assert int(count) >= 8  # threads of the decoder may take a neighbour with it
    assert broken >= 1
    assert mb < 100


def test_a_video_whose_head_declares_absurd_frames_is_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", [scene()] * 3)
    height, width = scene().shape[:2]
    monkeypatch.setattr("lineact.picture_size.MOST_PIXELS", width * height - 1)
    for read in (video_facts, lambda path: list(read_frames(path)), lambda path: opened_video(path).__enter__()):
        with pytest.raises(InputError, match=rf"a\.mp4: expected frames of at most .*found {width} x {height}"):
            read(path)
    monkeypatch.setattr("lineact.picture_size.MOST_PIXELS", width * height)
    assert len(list(read_frames(path))) == 3


@pytest.mark.parametrize("side", [VAST, 2 * VAST])
def test_a_picture_that_unpacks_to_gigabytes_is_left_out(side, tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(vast_png(side))
    assert path.stat().st_size < 1_000_000
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with pytest.raises(ValueError, match="expected a picture of at most"):
        decode_picture(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mb < MOST_MB / 5


def test_names_that_a_spreadsheet_would_run_are_text_in_tables(tmp_path):
    raw = write_class_folders(tmp_path / "raw")
    formula = '=HYPERLINK("http:evil","open")_0001.png'
    first = next(raw.rglob("*.png"))
    (first.parent / formula).write_bytes(b"no picture")
    params = crops_params(max_bad_share=0.5)
    import_crops(params, raw, tmp_path / "dataset", tmp_path / "out")
    with (tmp_path / "out" / "problems.csv").open() as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert any(formula in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-"))]


TAGS = [
    "!!python/object/apply:os.mkdir ['{mark}']",
    "!!python/object/new:os.mkdir ['{mark}']",
    "!!python/name:os.system",
    "!!python/module:os",
]


@pytest.mark.parametrize("tag", TAGS)
def test_yaml_makes_no_python_objects(tag, tmp_path):
    mark, path = tmp_path / "it_ran", tmp_path / "data.yaml"
    path.write_text(f"names: {tag.format(mark=mark)}\n")
    with pytest.raises(InputError, match=r"data\.yaml: expected `names`.*found no YAML"):
        names_of(path)
    assert not mark.exists()


def test_yaml_that_unfolds_without_end_is_one_short_error(tmp_path):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = tmp_path / "data.yaml"
    path.write_text("\n".join([*levels, "names: *a11"]))
    with pytest.raises(InputError, match="expected `names`") as told:
        names_of(path)
    assert len(str(told.value)) < 2000


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_a_file_nested_without_end_is_one_error(kind, tmp_path):
    path = tmp_path / f"data.{kind}"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=rf"data\.{kind}: expected"):
        _ = names_of(path) if kind == "yaml" else read_annotations(path, ("a",))


@pytest.mark.parametrize("named", ["/etc", "..", "../../elsewhere", "images/../.."])
def test_a_data_set_brings_no_pictures_from_elsewhere(named, tmp_path):
    """data.yaml's `path`, its lists and links may name any folder of this machine."""
    folder = tmp_path / "set" / "inner"
    write_picture(folder / "images" / "a_1.png", 1)
    write_picture(tmp_path / "elsewhere" / "images" / "private_1.png", 1)
    (folder / "data.yaml").write_text(f"path: {named}\nnames: [open]\n")
    found = read_yolo_set(folder)
    assert found.base == folder
    assert [name for name, _ in found.pictures] == ["images/a_1.png"]
    (folder / "data.yaml").write_text("train: list.txt\nnames: [open]\n")
    (folder / "list.txt").write_text("../../elsewhere/images/private_1.png\n")
    with pytest.raises(InputError, match="expected pictures below"):
        read_yolo_set(folder)
    (folder / "data.yaml").write_text("names: [open]\n")
    (folder / "images" / "b_1.png").symlink_to(tmp_path / "elsewhere" / "images" / "private_1.png")
    with pytest.raises(InputError, match="expected pictures below"):
        read_yolo_set(folder)


SAFE_LOADER = "_LOADER"  # flows/forgotten_objects.py: yaml's safe one in C
RUNS_WHAT_IT_READS = {
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("pickle", "load"),
    ("pickle", "loads"),
    ("joblib", "load"),
    ("os", "system"),
}


def unsafe_calls(source: str) -> list[str]:
    """Calls that run what a file or a text says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        name = ast.unparse(node.func)
        owner, _, called = name.rpartition(".")
        if (
            ((owner, called) in RUNS_WHAT_IT_READS and given.get("Loader") != SAFE_LOADER)
            or (not owner and called in ("eval", "exec"))
            or (name == "torch.load" and given.get("weights_only") != "True")
            or (called.startswith("get_state_dict") and given.get("weights_only") != "True")
            or given.get("allow_pickle") == "True"
            or given.get("shell") == "True"
            or given.get("trust_remote_code") == "True"
        ):
            found.append(name)
    return found


def test_nothing_that_is_read_is_run():
    modules = [path for package in ("flows", "tasks", "lineact") for path in (ROOT / package).rglob("*.py")]
    unsafe = {str(path.relative_to(ROOT)): unsafe_calls(path.read_text()) for path in modules}
    assert not {module: calls for module, calls in unsafe.items() if calls}


@pytest.mark.parametrize(
    "source",
    [
        "yaml.load(text)",
        "pickle.load(stream)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "known.DEFAULT.get_state_dict(check_hash=True)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "eval(text)",
    ],
)
def test_the_search_for_such_calls_finds_them(source):
    assert unsafe_calls(source)
    assert not unsafe_calls("model.eval(); yaml.safe_load(text); np.load(path); torch.load(path, weights_only=True)")


def test_json_labels_are_data(tmp_path):
    """No key of a label file leads anywhere: what is not known is an error or is passed over."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"__class__": "os", "database": {"v": {"annotations": "../../etc/passwd"}}}))
    with pytest.raises(InputError, match=r"a\.json"):
        read_annotations(path, ("a",))
