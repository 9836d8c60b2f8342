"""What the review page asks for: `review_app` of a line that was read by `flows.review`."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from flows.review_access import Access, guard
from flows.review_line import Reviewed, StaleError
from lineact.decisions import TASKS
from lineact.errors import LineactError
from lineact.review.answers import labels_of
from lineact.review.session import Given, UnknownItemError, UnseenError

PAGE = Path(__file__).with_name("review_page")
PAGE_ITEMS = 40  # crops of one page; a group or a frame is a page of its own
MOST_ITEMS = 200
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # its address names the table's version


class PostedAnswer(BaseModel):
    """An answer; see `lineact.review.session.Given`."""

    item_id: str = Field(max_length=200)
    decided: str = Field(max_length=20_000)
    seconds: float
    seen: int
    settles: bool = False


class Posted(BaseModel):
    """Answers that are saved together, or not at all."""

    version: str = Field(max_length=100)  # of the queue that the page shows
    answers: list[PostedAnswer] = Field(min_length=1, max_length=MOST_ITEMS)


THREADS = 4  # that answer: each keeps memory of its own


def review_app(reviewed: Reviewed, access: Access) -> FastAPI:
    """The page and what it asks for."""
    app = FastAPI(
        title=f"review of {reviewed.line}", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_few_threads
    )
    app.middleware("http")(guard(access))
    app.mount("/page", StaticFiles(directory=PAGE))
    _tell_errors(app)
    _add_pictures(app, reviewed)
    _add_answers(app, reviewed)

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/api/line")
    def line() -> dict[str, Any]:
        return {
            "line": reviewed.line,
            "reviewer": reviewed.reviewer,
            "simulated": reviewed.simulated,
            "version": reviewed.version,
            "labels": {task: labels_of(task, reviewed.actions) for task in TASKS},
            "templates": reviewed.templates,
            "page_items": PAGE_ITEMS,
            "decisions": reviewed.decisions.as_posix(),
            "carried": reviewed.carried.told(),
        } | _progress(reviewed)

    return app


@asynccontextmanager
async def _few_threads(_: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield


def _tell_errors(app: FastAPI) -> None:
    def telling(status: int) -> Callable[[Request, Exception], JSONResponse]:
        return lambda _, error: JSONResponse({"detail": str(error)}, status)

    for kind, status in ((LineactError, 500), (UnknownItemError, 404), (UnseenError, 409), (OSError, 500)):
        app.add_exception_handler(kind, telling(status))

    @app.exception_handler(StaleError)
    def stale(_: Request, error: StaleError) -> JSONResponse:
        return JSONResponse({"detail": str(error), "stale": True}, 409)

    @app.exception_handler(RequestValidationError)
    def unusable(_: Request, error: RequestValidationError) -> JSONResponse:
        # without what was found, which may be text that no encoding holds
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"detail": wrong}, 422)


def _add_pictures(app: FastAPI, reviewed: Reviewed) -> None:
    frames, crops = reviewed.frames, reviewed.crops

    def frame_of(item_id: str) -> tuple[str, float]:
        item = reviewed.session.item(item_id)
        if item["video_sha256"] is None:
            raise UnknownItemError(f"item {item_id!r} is of no one frame")
        return item["video_sha256"], item["pts_s"]

    @app.get("/api/crop")
    def crop(box_id: str) -> Response:
        if box_id not in crops:
            raise UnknownItemError(f"unknown crop {box_id!r}")
        return Response(crops.pngs([box_id])[box_id], media_type="image/png", headers=FOREVER)

    @app.get("/api/frame")
    def frame(item_id: str) -> Response:
        return Response(frames.png(*frame_of(item_id)), media_type="image/png", headers=FOREVER)

    @app.get("/api/loop")
    def loop(item_id: str) -> Response:
        place = reviewed.box_of(item_id)
        return Response(frames.loop_webp(*frame_of(item_id), place), media_type="image/webp", headers=FOREVER)


def _add_answers(app: FastAPI, reviewed: Reviewed) -> None:
    session = reviewed.session

    @app.get("/api/items")
    def items(
        name: str,
        place: int = 0,
        count: int = Query(PAGE_ITEMS, ge=1, le=MOST_ITEMS),
        waiting: bool = False,
        pictures: bool = False,
    ) -> dict[str, Any]:
        reviewed.refuse_another_queue()
        page = session.next_waiting(name, place, count) if waiting else session.page(name, place, count)
        shown = [box_id for item in page.items if item.task != "box" for box_id in item.box_ids] if pictures else []
        crops = {box_id: b64encode(png).decode() for box_id, png in reviewed.crops.pngs(shown).items()}
        return asdict(page) | {"name": name, "progress": _progress(reviewed), "crops": crops}

    @app.get("/api/progress")
    def progress() -> dict[str, Any]:
        return _progress(reviewed)

    @app.get("/api/quality")
    def certificate() -> dict[str, Any]:
        reviewed.refuse_another_queue()
        return reviewed.quality.told(session.decisions())

    @app.post("/api/decisions")
    def decide(posted: Posted) -> dict[str, Any]:
        _refuse_simulated(reviewed)
        reviewed.refuse_another_page(posted.version)
        try:
            shown = session.answer([Given(**answer.model_dump()) for answer in posted.answers])
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        except UnseenError as error:
            now = session.show([answer.item_id for answer in posted.answers])
            return JSONResponse({"detail": str(error), "items": [asdict(item) for item in now]}, 409)  # type: ignore[return-value]
        return {"items": [asdict(item) for item in shown], "progress": _progress(reviewed)}

    @app.post("/api/finish")
    def finish() -> dict[str, Any]:
        _refuse_simulated(reviewed)
        exported = session.export()
        next_step = reviewed.what_comes_next()
        return {"added": exported.added, "rows": exported.rows, "next": next_step, "progress": _progress(reviewed)}


def _refuse_simulated(reviewed: Reviewed) -> None:
    if reviewed.simulated:
        raise HTTPException(403, "simulated reviewer: looking only")


def _progress(reviewed: Reviewed) -> dict[str, Any]:
    state, progress, sets = reviewed.session.overview()
    listed = [
        {"name": one.name, "task": one.task, "action": one.action, "total": asked, "waiting": waiting}
        for one, asked, waiting in sets
    ]
    return asdict(progress) | {
        "disputed": len(progress.disputed),
        "sets": listed,
        "certified": reviewed.session.certified,
        "pending": state.pending,
        "bad": [{"row": bad.row, "column": bad.column, "found": bad.found} for bad in state.bad],
    }
