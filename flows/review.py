"""The review page: `python -m flows.review line=demo`, then a browser on this machine.

Every answer is in data/<line>/review/decisions.csv before the page shows it as decided. On a simulated line that file
is a stage's output, so there the page only shows.
"""

import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from flows import command_line
from flows.gate import decisions_of
from flows.pipeline import stages_of
from lineact.dataset.labels import boxes_on_frames
from lineact.decisions import WITHDRAWN, PlacedBox
from lineact.errors import ConfigError, InputError, LineactError
from lineact.png import encode_png
from lineact.review import Answer, Shown, add_decision, decision_of, items_to_show, labels_of, read_all_decisions
from lineact.schema import BOXES, EMBEDDED, QUEUE, read_table
from lineact.video import Frame, read_frames, videos_by_sha256
from tasks.stage import section_of

HOST = "127.0.0.1"  # decisions are open to whoever reaches the page, so nobody else does
DEFAULT_PORT = 8765
PAGE = Path(__file__).with_name("review_page")
FRESH = {"Cache-Control": "no-cache"}  # a browser must not mix this version's page with an older script
ONLY_OWN_FILES = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:"}


@dataclass(frozen=True)
class Reviewed:
    """A line under review.

    Attributes:
        line: its name.
        actions: without NG.
        items: rows of schema QUEUE by item id.
        crops_png: PNG of every crop that is shown, by box id.
        boxes: today's boxes by recording and time: which crops' decisions answer.
        min_iou: at which a decision answers a box found again elsewhere.
        raw: folder of recordings.
        decisions: decisions.csv.
        reviewer: who answers.
        simulated: whether decisions.csv is written by a stage.
    """

    line: str
    actions: tuple[str, ...]
    items: dict[str, dict]
    crops_png: dict[str, bytes]
    boxes: dict[tuple[str, float], list[PlacedBox]]
    min_iou: float
    raw: Path
    decisions: Path
    reviewer: str
    simulated: bool


def read_reviewed(line: str, reviewer: str) -> Reviewed:
    """Reads what the page shows.

    Raises:
        InputError: where the queue is missing, or does not fit the crops.
        ConfigError: where the line is unknown.
    """
    folder = Path("data") / line
    path = folder / "queue" / "queue.parquet"
    if not path.is_file():
        stages_of(line)  # the command named below would refuse an unknown line in turn
        raise InputError(
            f"{path}: expected the review queue of line {line!r}, found nothing; "
            f"run `python -m flows.label_line line={line}`"
        )
    settings = section_of(line, "dataset")
    actions = tuple(settings["actions"])
    rows = read_table(path, QUEUE).to_pylist()
    wanted = {box_id for row in rows if row["task"] != "box" for box_id in row["box_ids"]}
    embedded = read_table(folder / "embed" / "crops.parquet", EMBEDDED).select(["box_id", "crop_png"])
    crops = {row["box_id"]: row["crop_png"] for row in embedded.to_pylist() if row["box_id"] in wanted}
    if lost := sorted(wanted - set(crops)):
        raise InputError(
            f"{path}: expected crops of {folder / 'embed'}, found {len(lost)} others, e.g. {lost[0]}; "
            f"run `python -m flows.label_line line={line}`"
        )
    boxes = boxes_on_frames(read_table(folder / "detect" / "boxes.parquet", BOXES))
    decisions = decisions_of(line)
    read_all_decisions(decisions, actions)  # a broken file is told now, not at the first answer
    items = {row["item_id"]: row for row in rows}
    return Reviewed(
        line, actions, items, crops, boxes, settings["min_iou"], folder / "raw", decisions, reviewer, _simulated(line)
    )


def _simulated(line: str) -> bool:
    try:
        section_of(line, "simulate_review")
    except ConfigError:
        return False
    return True


@dataclass(frozen=True)
class Picture:
    """A queued frame.

    Attributes:
        png: its content.
        size_wh_px: width and height.
    """

    png: bytes
    size_wh_px: tuple[int, int]


@dataclass
class Pictures:
    """The queued frames. Each recording is decoded once, from its start, as far as was asked."""

    reviewed: Reviewed
    _videos: dict[str, Path] = field(default_factory=dict)
    _frames: dict[str, Iterator[Frame]] = field(default_factory=dict)
    _decoded: dict[str, list[Picture]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, item: dict) -> Picture:
        """The frame of a `box` item.

        Raises:
            InputError: where the recording is not there, or has no such frame.
        """
        sha256 = item["video_sha256"]
        queued = (row for row in self.reviewed.items.values() if row["task"] == "box" and row["video_sha256"] == sha256)
        times_s = sorted(row["pts_s"] for row in queued)
        place = times_s.index(item["pts_s"])
        with self._lock:
            decoded = self._decoded.setdefault(sha256, [])
            if len(decoded) <= place and sha256 not in self._frames:
                self._frames[sha256] = read_frames(self._path(sha256), times_s)
            try:
                while len(decoded) <= place:
                    image_rgb = next(self._frames[sha256]).image_rgb
                    decoded.append(Picture(encode_png(image_rgb), (image_rgb.shape[1], image_rgb.shape[0])))
            except (InputError, StopIteration) as error:
                # A generator that raised is finished: the next request starts anew.
                del self._frames[sha256], self._decoded[sha256]
                raise InputError(str(error) or f"{item['item_id']}: no such frame; run `dvc repro`") from error
            return decoded[place]

    def _path(self, sha256: str) -> Path:
        if not self._videos:
            self._videos.update(videos_by_sha256(self.reviewed.raw))
        if sha256 not in self._videos:
            raise InputError(
                f"{self.reviewed.raw}: expected the recording {sha256[:12]}, found others; run `dvc repro`"
            )
        return self._videos[sha256]


class Posted(BaseModel):
    """The body of an answer; see `lineact.review.Answer`. `shown`: the item's decision as the page showed it."""

    item_id: str
    decided: str
    shown: str
    seconds: float


def review_app(reviewed: Reviewed) -> FastAPI:
    """The page and what it asks for."""
    app = FastAPI(title=f"review of {reviewed.line}", docs_url=None, redoc_url=None, openapi_url=None)
    # A foreign page whose name resolves to this machine must not read or answer.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.mount("/page", StaticFiles(directory=PAGE))
    pictures = Pictures(reviewed)
    writing = Lock()

    def item_of(item_id: str) -> dict:
        if item_id not in reviewed.items:
            raise HTTPException(404, f"unknown item {item_id!r}")
        return reviewed.items[item_id]

    def picture_of(item: dict) -> Picture:
        try:
            return pictures.of(item)
        except InputError as error:
            raise HTTPException(500, str(error)) from error

    @app.middleware("http")
    async def fresh(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(FRESH)
        return response

    @app.exception_handler(LineactError)
    def unusable(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 500)

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=ONLY_OWN_FILES)

    @app.get("/api/line")
    def line() -> dict[str, Any]:
        return _state(reviewed)

    @app.get("/api/crop")
    def crop(box_id: str) -> Response:
        if box_id not in reviewed.crops_png:
            raise HTTPException(404, f"unknown crop {box_id!r}")
        return Response(reviewed.crops_png[box_id], media_type="image/png")

    @app.get("/api/frame")
    def frame(item_id: str) -> Response:
        item = item_of(item_id)
        if item["task"] != "box":
            raise HTTPException(404, f"item {item_id!r} is no frame")
        return Response(picture_of(item).png, media_type="image/png")

    @app.post("/api/decisions")
    def decide(posted: Posted) -> dict[str, Any]:
        item = item_of(posted.item_id)
        if reviewed.simulated:
            raise HTTPException(403, "simulated reviewer: looking only")
        size_wh_px = picture_of(item).size_wh_px if item["task"] == "box" else None
        answer = Answer(posted.decided, reviewed.reviewer, posted.seconds)
        try:
            decision = decision_of(item, answer, reviewed.actions, size_wh_px)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        try:
            with writing:
                seen = _refuse_unseen(reviewed, posted)
                if decision.decided == WITHDRAWN:  # the row that answers, not one beside it
                    decision = replace(decision, item_id=seen.decided_as)
                add_decision(reviewed.decisions, decision, reviewed.actions)
                return _state(reviewed)
        except (LineactError, OSError) as error:
            raise HTTPException(500, f"not saved: {error}") from error

    return app


def _refuse_unseen(reviewed: Reviewed, posted: Posted) -> Shown:
    """The item as it stands; refuses an answer given before a decision that another window made was seen."""
    (item,) = (item for item in _shown(reviewed) if item.item_id == posted.item_id)
    if item.decided != posted.shown:
        raise HTTPException(409, f"decided in another window: {item.decided or 'taken back'}")
    return item


def _shown(reviewed: Reviewed) -> list[Shown]:
    decisions = read_all_decisions(reviewed.decisions, reviewed.actions)
    return items_to_show(list(reviewed.items.values()), decisions, reviewed.boxes, reviewed.min_iou)


def _state(reviewed: Reviewed) -> dict[str, Any]:
    return {
        "line": reviewed.line,
        "reviewer": reviewed.reviewer,
        "simulated": reviewed.simulated,
        "labels": {task: labels_of(task, reviewed.actions) for task in ("group", "crop", "audit", "box")},
        "items": [asdict(item) for item in _shown(reviewed)],
        "next": f"python -m flows.retrain line={reviewed.line}",
    }


def _bound_socket(port: str) -> socket.socket:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"port={port}: expected a number from 1 to 65535")
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, int(port)))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"port={port}: cannot be opened ({error.strerror}); choose another, e.g. port=8766"
        ) from error
    return bound


def main() -> None:
    """`line=demo [port=8765] [reviewer=NAME]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("port", "reviewer"))
    reviewed = read_reviewed(values["line"], values.get("reviewer") or "person")
    port = values.get("port") or str(DEFAULT_PORT)
    bound = _bound_socket(port)
    print(f"review of {reviewed.line}: http://{HOST}:{port} (Ctrl+C ends it; what is decided is saved)", flush=True)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(review_app(reviewed), log_level="warning")).run(sockets=[bound])


if __name__ == "__main__":
    command_line.run(main)
