"""What is left of a recording is found and goes; what is of others stays."""

import ast
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lineact.bundle.processing import fit_into, read_png
from lineact.decisions import Decision, read_decisions, write_decisions
from lineact.embed import Encoder, embed_boxes
from lineact.errors import InputError
from lineact.files import CACHE, write_json
from lineact.forget import Recording
from lineact.forget.caches import GOES, STAYS, TOLD_APART, forget_caches, known_recordings, names_of
from lineact.forget.review import forget_answers, forget_decisions, forget_segments
from lineact.forget.trained import stored_pictures, use_of
from lineact.png import encode_png
from lineact.review.journal import Journal
from lineact.schema import HOLDOUT_BOXES, table_of, write_table
from tests.labelled_line import Line, colour_encoder, embed_params
from tests.released_pair import INPUT_WH, smooth_noise

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = ("screw", "wipe")
OTHER = "b" * 64
GONE = Recording("a" * 64, names_of("early/rec_1.mp4"))
BOX_COLUMNS = ("x1", "y1", "x2", "y2", "score")


def kinds_in_use() -> set[str]:
    """First arguments of all calls of `cache_folder`, constants of the module resolved."""
    kinds = set()
    for package in ("lineact", "flows"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text())
            constants = {
                target.id: node.value.value
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cache_folder":
                    kind = node.args[0]
                    name = kind.value if isinstance(kind, ast.Constant) else constants[kind.id]  # type: ignore[attr-defined]
                    kinds.add(str(name))
    return kinds


def test_of_every_kind_of_cache_it_is_known_what_becomes_of_it():
    assert kinds_in_use() | {"foundation_starts"} == STAYS | GOES | TOLD_APART
    assert len(STAYS) + len(GOES) + len(TOLD_APART) == len(STAYS | GOES | TOLD_APART)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A line of four recordings with tables and caches as the stages leave them; the second one is to go."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "press_a"
    line = Line(folder, recordings=4, cycles=1)
    line.write(folder, embed_boxes(line.raw, line.boxes, embed_params(), colours()))
    shas = line.videos["video_sha256"].to_pylist()
    for number, sha256 in enumerate(shas):
        rows = line.boxes.filter(np.array(line.boxes["video_sha256"].to_pylist()) == sha256)
        write_shard(f"{number}_found", rows.select(BOX_COLUMNS).slice(3, 4))
        write_shard(f"{number}_nothing", rows.select(BOX_COLUMNS).slice(0, 0))
    write_shard("of_older_settings", table_of([dict.fromkeys(BOX_COLUMNS, 1.5)], rows.select(BOX_COLUMNS).schema))
    return line, Recording(shas[1], names_of("rec_1.mp4"))


def colours():
    """An encoder that is the same each time: `colour_encoder` counts its calls in the key."""
    return Encoder(colour_encoder().forward, {"weights": "colours"})


def write_shard(name, table):
    path = CACHE / "detect" / name / "boxes.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)


def test_of_caches_goes_what_is_not_shown_to_be_of_another(cached):
    _, recording = cached
    for kind in ("decoded_crops", "holdout_crops", "train_teacher"):
        (CACHE / kind / "0").mkdir(parents=True)
    assert len(list((CACHE / "embed").iterdir())) == 4
    removed = forget_caches(recording, known_recordings(Path("data")))
    assert removed == {"decoded_crops": 1, "detect": 2, "embed": 1, "holdout_crops": 1}
    left = {path.name for path in (CACHE / "detect").iterdir()}
    assert left == {"0_found", "2_found", "3_found", *(f"{number}_nothing" for number in range(4))}
    assert (CACHE / "train_teacher" / "0").is_dir()


def test_embeddings_of_the_others_need_no_network_afterwards(cached):
    line, recording = cached
    forget_caches(recording, known_recordings(Path("data")))
    again = embed_boxes(line.raw, line.boxes, embed_params(), colours())
    own = sum(sha256 == recording.sha256 for sha256 in again.crops["video_sha256"].to_pylist())
    assert 0 < again.computed <= own


def test_where_nothing_is_known_all_that_may_be_of_the_recording_goes(cached):
    _, recording = cached
    known = known_recordings(Path("nowhere"))
    removed = forget_caches(recording, known)
    assert removed == {"detect": 5, "embed": 4}


def box_id(sha256, number=0):
    return f"{sha256[:12]}@{number:.6f}#1-2-30-40"


def decision(item_id, task="crop", decided="screw", basis="0", second=0):
    return Decision(item_id, task, "", decided, "ann", f"2026-03-01T10:00:{second:02d}+00:00", 2.0, basis)


ROWS = [
    decision(box_id(GONE.sha256)),
    decision(box_id(OTHER)),
    decision("frame:" + box_id(GONE.sha256).partition("#")[0], "box", "empty"),
    decision("frame:" + box_id(OTHER).partition("#")[0], "box", "empty"),
    decision("group:1", "group", basis=f"f00d/{box_id(OTHER)} {box_id(GONE.sha256)} {box_id(OTHER, 2)}"),
    decision("group:2", "group", basis=f"f00d/{box_id(GONE.sha256)}"),
    decision("group:3", "group", basis="f00d"),
]
LEFT = {box_id(OTHER), "frame:" + box_id(OTHER).partition("#")[0], "group:1", "group:3"}


def test_words_on_the_recording_go_and_those_on_others_stay(tmp_path):
    path = tmp_path / "decisions.csv"
    write_decisions(path, ROWS)
    bad = [
        f"{box_id(GONE.sha256)},crop,,nonsense,ann,2026-03-01,1,0",
        f"{box_id(OTHER)},crop,,nonsense,ann,2026-03-01,1,0",
    ]
    path.write_text(path.read_text() + "\n".join(bad) + "\n")
    assert forget_decisions(path, ACTIONS, GONE) == 4
    read = read_decisions(path, ACTIONS)
    assert {row.item_id for row in read.rows} == LEFT
    assert read.by_item["group:1"].basis == f"f00d/{box_id(OTHER)} {box_id(OTHER, 2)}"
    assert [row.text for row in read.bad] == [bad[1]]
    assert GONE.key not in path.read_text()
    before = path.read_bytes()
    assert forget_decisions(path, ACTIONS, GONE) == 0
    assert path.read_bytes() == before
    assert forget_decisions(tmp_path / "none.csv", ACTIONS, GONE) == 0


def test_the_journal_s_file_holds_nothing_of_the_recording(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    journal.add(lambda: ROWS)
    with pytest.raises(InputError, match=r"journal.sqlite: .* end the review page \(Ctrl\+C\)"):
        forget_answers(path, GONE)
    journal.write_pending(lambda _: None)
    journal.add(lambda: [decision(box_id(OTHER, 9))])
    journal.close()
    assert GONE.key.encode() in path.read_bytes()
    assert forget_answers(path, GONE) == 3
    for left in tmp_path.iterdir():
        assert GONE.key.encode() not in left.read_bytes()
    again = Journal(path)
    rows, _ = again.rows_after(0)
    assert {row.item_id for row in rows} == LEFT | {box_id(OTHER, 9)}
    assert len(again.rows_after(again.written_up_to)[0]) == 1  # what waits is the same as before
    again.close()
    path.write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match="expected a journal of answers"):
        forget_answers(path, GONE)


def test_segments_of_the_recording_go(tmp_path):
    path = tmp_path / "segments.json"
    entry = {"annotations": [{"segment": [0, 1], "label": "screw"}]}
    write_json(path, {"version": "1.3", "database": {"early/rec_1": entry, "rec_1": entry, "rec_2": entry}})
    assert forget_segments(path, GONE) == 1
    assert set(json.loads(path.read_text())["database"]) == {"rec_1", "rec_2"}
    path.write_text("[]")
    with pytest.raises(InputError, match="expected segments in ActivityNet's layout"):
        forget_segments(path, GONE)


def test_what_a_data_set_and_a_bundle_have_of_a_recording_is_counted(released, tmp_path):
    bundle = released / "export" / "bundle"
    frame = smooth_noise(np.random.default_rng(5), (INPUT_WH[1] * 2, INPUT_WH[0] * 2))
    picture = tmp_path / f"{GONE.key}_000000200.png"
    picture.write_bytes(encode_png(frame))
    rows = [
        {"video_sha256": sha256, "pts_s": at_s, "decided_by": "person"}
        for sha256, at_s in ((GONE.sha256, 1.0), (GONE.sha256, 1.0), (GONE.sha256, 2.0), (OTHER, 2.0))
    ]
    write_table(table_of(rows, HOLDOUT_BOXES), tmp_path / "holdout.parquet", HOLDOUT_BOXES)
    files = {
        "crops.parquet": released / "data" / "crops.parquet",
        "holdout.parquet": tmp_path / "holdout.parquet",
        f"detection/images/val/{picture.name}": picture,
        f"detection/images/train/{OTHER[:12]}_000000200.png": picture,
    }
    use = use_of(files, GONE)
    assert use == (6, 6, 0, 1, 2)
    assert use.words() == "6 train crops, 6 val crops, 1 val frames, 2 held out frames"
    assert use_of(files, Recording("c" * 64, GONE.names)).words() == "nothing of it"
    assert stored_pictures(bundle, files, GONE) == [f"samples/crop_{number:02d}.png" for number in range(3)]
    assert stored_pictures(bundle, files, Recording("c" * 64, GONE.names)) == []
    stored = sorted((released / "data/detection/images/val").glob("*.png"))[0]
    shown = {f"detection/images/val/{GONE.key}_1.png": stored}
    assert np.array_equal(fit_into(read_png(stored), INPUT_WH)[0], read_png(bundle / "samples/frame_00.png"))
    assert stored_pictures(bundle, shown, GONE) == ["samples/frame_00.png"]


def test_a_journal_in_another_mode_is_read_as_well(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    journal.add(lambda: ROWS)
    journal.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    assert forget_answers(path, GONE) == 3
