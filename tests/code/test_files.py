"""Files are written whole or not at all; hashes depend on names and contents alone."""

import json

import pytest

from lineact.files import cache_folder, sha256_of_tree, write_json, write_metrics, write_text, write_whole


def test_write_whole_leaves_nothing_behind_when_the_writer_fails(tmp_path):
    target = tmp_path / "table.txt"
    write_text(target, "before")

    def write_half(temporary):
        temporary.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_whole(target, write_half)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["table.txt"]


def test_write_whole_replaces_a_folder(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")
    write_whole(target, lambda temporary: write_text(temporary / "new", "new"))
    assert [path.name for path in target.iterdir()] == ["new"]


def test_write_json_is_sorted_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_metrics_are_flat_numbers_or_null(tmp_path):
    write_metrics(tmp_path, {"recall": 0.5, "undefined": None})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"recall": 0.5, "undefined": None}
    with pytest.raises(TypeError, match="metric 'name': expected a number or None, found 'x'"):
        write_metrics(tmp_path, {"name": "x"})  # type: ignore[dict-item]


def test_tree_hash_sees_names_and_contents(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_text(tmp_path / name / "sub" / "file", "same")
    assert sha256_of_tree(tmp_path / "a") == sha256_of_tree(tmp_path / "b")
    write_text(tmp_path / "b" / "sub" / "file", "other")
    assert sha256_of_tree(tmp_path / "a") != sha256_of_tree(tmp_path / "b")
    write_text(tmp_path / "b" / "sub" / "file", "same")
    (tmp_path / "b" / "sub" / "file").rename(tmp_path / "b" / "sub" / "renamed")
    assert sha256_of_tree(tmp_path / "a") != sha256_of_tree(tmp_path / "b")


def test_cache_folder_depends_on_every_part_of_the_key():
    key = {"video": "ab", "revision": 1}
    assert cache_folder("detect", key) == cache_folder("detect", dict(reversed(key.items())))
    assert cache_folder("detect", key) != cache_folder("detect", key | {"revision": 2})
    assert cache_folder("detect", key) != cache_folder("embed", key)
