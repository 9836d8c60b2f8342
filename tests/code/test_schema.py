"""Tables are checked when written and when read."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineact.errors import InputError
from lineact.schema import TEMPLATES, empty_table, read_table, table_of, write_table

ROW = {"group": 0, "box_id": "b", "row": 1, "rank": 0}


def test_round_trip(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(table_of([ROW], TEMPLATES), path, TEMPLATES)
    assert read_table(path, TEMPLATES).to_pylist() == [ROW]


def test_some_columns_are_read_alone_and_the_others_are_checked_all_the_same(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(table_of([ROW], TEMPLATES), path, TEMPLATES)
    assert read_table(path, TEMPLATES, ("row", "group")).to_pylist() == [{"row": 1, "group": 0}]
    assert read_table(path, TEMPLATES, ("row", "group")).column_names == ["row", "group"]
    with pytest.raises(InputError, match="expected columns"):
        read_table(path, TEMPLATES.remove(3), ("row", "group"))


def test_an_empty_table_is_a_table(tmp_path):
    write_table(empty_table(TEMPLATES), tmp_path / "t.parquet", TEMPLATES)
    assert read_table(tmp_path / "t.parquet", TEMPLATES).num_rows == 0


def test_nulls_are_refused_where_the_schema_has_none(tmp_path):
    with pytest.raises(ValueError, match="'box_id' with null values"):
        write_table(table_of([ROW | {"box_id": None}], TEMPLATES), tmp_path / "t.parquet", TEMPLATES)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda _: None, "found nothing"),
        (lambda path: path.write_bytes(b"not parquet at all"), "expected Parquet"),
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "expected schema version 1, found none"),
        (
            lambda path: pq.write_table(
                pa.table({"a": [1]}).replace_schema_metadata({"lineact_schema_version": "1"}), path
            ),
            "expected columns",
        ),
    ],
)
def test_what_is_not_the_table_is_refused_by_name(tmp_path, write, message):
    path = tmp_path / "t.parquet"
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path, TEMPLATES)
    assert str(path) in str(caught.value)
