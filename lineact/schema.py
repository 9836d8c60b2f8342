"""The tables that stages exchange: columns, types, units, and reading and writing them checked.

Boxes are `boxes_xyxy_px`: pixels of the source frame, half-open, x to the right, y down. `pts_s` is the container's
presentation time in seconds. A frame's identity is (`video_sha256`, `pts_s`). Imported pictures have no time: there a
recording's hash is that of its pictures, and `pts_s` is the number in the file's name.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineact.errors import InputError
from lineact.files import write_whole

# Raise it where a column changes its meaning under the same name and type: those are compared anyway. Then raise
# CODE_VERSION of `lineact.ingest` and `lineact.simulation.recordings` too, whose caches hold tables.
SCHEMA_VERSION = 1

_FRAME = [pa.field("video_sha256", pa.string(), nullable=False), pa.field("pts_s", pa.float64(), nullable=False)]
_BOX = [pa.field(name, pa.float32(), nullable=False) for name in ("x1", "y1", "x2", "y2")]


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


VIDEOS = pa.schema(
    [
        _required("video_sha256", pa.string()),
        _required("name", pa.string()),  # path below the raw folder
        _required("start_s", pa.float64()),  # presentation time of the first frame; of many containers not 0
        _required("duration_s", pa.float64()),
        _required("fps", pa.float64()),  # mean rate: frames / duration
        _required("frame_count", pa.int64()),
        _required("width_px", pa.int32()),
        _required("height_px", pa.int32()),
        _required("codec", pa.string()),
    ]
)
FRAMES = pa.schema(
    [
        *_FRAME,
        _required("index", pa.int64()),  # decoding order within the video, from 0
        _required("width_px", pa.int32()),
        _required("height_px", pa.int32()),
        _required("sharpness", pa.float32()),  # variance of the Laplacian of the grey frame
        _required("motion", pa.float32()),  # share of pixels that changed since the frame before, 0 to 1
        pa.field("duplicate_of", pa.int64()),  # index of the earlier frame that this one repeats
        _required("kept", pa.bool_()),
        _required("reason", pa.string()),  # "kept", or why not: "still", "duplicate", "blurred", "sampled_out"
    ]
)
BOXES = pa.schema(
    [
        *_FRAME,
        _required("box_id", pa.string()),
        *_BOX,
        _required("score", pa.float32()),  # 0 to 1
        _required("phrase", pa.string()),  # the word of the prompt it answers
        _required("source", pa.string()),  # backend, e.g. "motion"
        pa.field("dropped_by", pa.string()),  # the filter rule that removed it; null where it stays
    ]
)
TRUTH_BOXES = pa.schema(
    [
        *_FRAME,
        _required("hand", pa.string()),  # "left" or "right"
        *_BOX,
        _required("action", pa.string()),  # one of the line's actions, or "NG"
    ]
)
EMBEDDED = pa.schema(  # row i belongs to row i of embeddings.npy
    [
        *_FRAME,
        _required("box_id", pa.string()),
        _required("crop_sha256", pa.string()),  # of the decoded crop's pixels
        _required("crop_png", pa.binary()),  # the square crop, RGB, PNG
    ]
)
CROPS = pa.schema(
    [
        _required("box_id", pa.string()),
        pa.field("group", pa.int32()),
        _required("row", pa.int64()),  # row of embeddings.npy
        _required("similarity", pa.float32()),  # cosine to the nearest template, -1 to 1
        _required("margin", pa.float32()),  # that, less the cosine to the best template of another group
        _required("status", pa.string()),  # "accepted" or "rejected" by its group
    ]
)
TEMPLATES = pa.schema(
    [
        _required("group", pa.int32()),
        _required("box_id", pa.string()),
        _required("row", pa.int64()),
        _required("rank", pa.int32()),  # 0 is the group's medoid
    ]
)
QUEUE = pa.schema(
    [
        _required("item_id", pa.string()),  # "group:<n>", a box_id, or "frame:<sha256[:12]>@<pts_s:.6f>"
        _required("task", pa.string()),  # "group", "crop", "box" or "audit"
        _required("priority", pa.int64()),  # 0 first
        _required("suggested", pa.string()),  # label, or boxes as JSON; "" where there is none
        _required("reason", pa.string()),  # why a person should see it
        _required("basis", pa.string()),  # hash of what is shown; a decision is stale where it differs
        pa.field("video_sha256", pa.string()),
        pa.field("pts_s", pa.float64()),
        _required("box_ids", pa.list_(pa.string())),  # crops to show; of a frame: its boxes
        _required("holdout", pa.bool_()),  # measures the line, never trains it
    ]
)
LABELLED_CROPS = pa.schema(
    [
        *_FRAME,
        _required("box_id", pa.string()),
        *_BOX,
        _required("action", pa.string()),
        _required("split", pa.string()),  # "train" or "val"; in holdout_crops.parquet "holdout"
        _required("decided_by", pa.string()),  # "person" or "match"
        _required("crop_png", pa.binary()),
    ]
)
HOLDOUT_BOXES = pa.schema(  # truth on held-out frames; a frame checked as empty has one row with null box
    [
        *_FRAME,
        *(pa.field(name, pa.float32()) for name in ("x1", "y1", "x2", "y2")),
        pa.field("action", pa.string()),
        _required("decided_by", pa.string()),
    ]
)
PREDICTIONS = pa.schema(  # one row per predicted box, and one per missed true box, which has no score
    [
        _required("model", pa.string()),  # "challenger" or "champion"
        *_FRAME,
        *(pa.field(name, pa.float32()) for name in ("x1", "y1", "x2", "y2", "score")),
        pa.field("action", pa.string()),
        pa.field("confidence", pa.float32()),  # the action's probability, 0 to 1
        *(pa.field(f"truth_{name}", pa.float32()) for name in ("x1", "y1", "x2", "y2")),  # null: no hand is there
        pa.field("truth_action", pa.string()),
        pa.field("truth_box_action", pa.string()),  # what the classifier says of the true box
    ]
)
PICTURES_PER_ROW_GROUP = 64  # so that a picture is read without the whole column
DECISION_COLUMNS = (
    "item_id",
    "task",
    "suggested",
    "decided",
    "reviewer",
    "decided_at",
    "seconds",
    "basis",
)


HARVEST_FOLDER = "harvest"  # below the raw folder: recordings whose frames are crops that stations kept


def is_harvested(name: str) -> bool:
    """Whether a recording of this name (path below the raw folder) holds crops in place of pictures of the station."""
    return PurePosixPath(name).parts[:1] == (HARVEST_FOLDER,)


def empty_table(schema: pa.Schema) -> pa.Table:
    """A table of this schema without rows."""
    return schema.empty_table()


def table_of(rows: list[dict], schema: pa.Schema) -> pa.Table:
    """A table of this schema from a list of rows (missing keys are nulls)."""
    return pa.Table.from_pylist(rows, schema=schema)


def sorted_by(table: pa.Table, *columns: str) -> pa.Table:
    """A table by these columns, ascending; `pa.Table.sort_by` takes 40 MiB for what it loads."""
    return table.take(pc.sort_indices(table, sort_keys=[(column, "ascending") for column in columns]))


def write_table(table: pa.Table, path: Path, schema: pa.Schema) -> None:
    """Writes Parquet whole, with the schema's version, after checking columns, types and nulls.

    Raises:
        ValueError: where the table does not fit the schema.
    """
    table = table.select(schema.names).cast(schema)
    _refuse_nulls(table, str(path))
    stamped = table.replace_schema_metadata({"lineact_schema_version": str(SCHEMA_VERSION)})
    has_pictures = any(field.type == pa.binary() for field in schema)
    rows = PICTURES_PER_ROW_GROUP if has_pictures else None
    write_whole(path, lambda temporary: pq.write_table(stamped, temporary, row_group_size=rows))


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads Parquet and checks version, columns, types and nulls.

    Args:
        path: the file.
        schema: of the whole file.
        columns: those to read, in this order; all of them where it is None. Pictures make most of a table's size.

    Raises:
        InputError: where the file is missing, of another version, or does not fit the schema.
    """
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table takes more memory for the same table
            _refuse_another(file.schema_arrow, schema, path)
            # threads would each keep memory of their own
            table = file.read(columns=columns and list(columns), use_threads=False).select(columns or schema.names)
        pa.default_memory_pool().release_unused()
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a table of an earlier stage, found nothing; run `dvc repro`") from error
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: expected Parquet, found something else ({error}); run `dvc repro`") from error
    _refuse_nulls(table, str(path))
    return table


def _refuse_another(found: pa.Schema, schema: pa.Schema, path: Path) -> None:
    version = (found.metadata or {}).get(b"lineact_schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise InputError(f"{path}: expected schema version {SCHEMA_VERSION}, found {version}; run `dvc repro`")
    if not found.equals(schema):
        raise InputError(f"{path}: expected columns {schema.names}, found {found.names}; run `dvc repro`")


def _refuse_nulls(table: pa.Table, where: str) -> None:
    for field in table.schema:
        if not field.nullable and table.column(field.name).null_count:
            raise ValueError(f"{where}: column {field.name!r} must have no nulls")
