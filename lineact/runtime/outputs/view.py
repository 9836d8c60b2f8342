"""The live view: a page on this machine alone, with the newest frame, its boxes, actions and latency."""

import json
import logging
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from lineact.errors import ConfigError
from lineact.runtime.events import Origin
from lineact.runtime.outputs.overlay import Overlay
from lineact.runtime.results import FrameResult
from lineact.runtime.settings import ViewSettings
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.work.events import Reported

HOST = "127.0.0.1"  # it shows people at work, so nobody else reaches it
PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/view.css": ("view.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
BOUNDARY = "lineact-frame"
LATENCIES = 250  # frames that the shown percentiles are of
EVENTS = 20  # shown, newest first
MOST_VIEWERS = 8
WAIT_S = 1.0
JPEG_QUALITY = 80


class LiveView:
    """Serves the newest result. Pictures are drawn while somebody looks, and only then.

    Args:
        settings: see `ViewSettings`.
        origin: for the heading.
        labels: of the classifier.
        counts: of the source.

    Raises:
        ConfigError: where the port cannot be opened.
    """

    def __init__(self, settings: ViewSettings, origin: Origin, labels: tuple[str, ...], counts: SourceCounts) -> None:
        self._settings = settings
        self._origin = origin
        self._counts = counts
        self._overlay = Overlay(settings.long_side_px, labels)
        self._changed = threading.Condition()
        self._newest: FrameResult | None = None
        self._closed = False
        self._drawn: tuple[FrameResult, bytes] | None = None
        self._drawing = threading.Lock()
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES)
        self._events: deque[dict[str, object]] = deque(maxlen=EVENTS)
        self.viewers = threading.BoundedSemaphore(MOST_VIEWERS)
        handler = type("Handler", (_Handler,), {"view": self})
        try:
            self._server = ThreadingHTTPServer((HOST, settings.port), handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"view: {HOST}:{settings.port} cannot be opened ({reason}); choose another port"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="view", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"http://{HOST}:{self._server.server_port}/"

    @property
    def closed(self) -> bool:
        """Whether nothing comes any more."""
        return self._closed

    def see(self, result: FrameResult) -> None:
        """Shows a frame from now on."""
        self._latencies_ms.append(1000 * (result.done_s - result.frame.arrived_s))
        with self._changed:
            self._newest = result
            self._changed.notify_all()

    def change(self, bundle: str) -> None:
        """Another bundle runs."""
        self._origin = self._origin._replace(bundle=bundle)

    def write(self, event: Reported) -> None:
        """Lists an event."""
        self._events.appendleft(event.as_json())

    def close(self) -> None:
        """Serves no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_picture(self, after: int) -> tuple[int, bytes] | None:
        """A frame's number and its JPEG, once there is a newer one than `after`; None where none came for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_newer(after), WAIT_S)
            result = self._newest
        if self._closed or result is None or not self._is_newer(after):
            return None
        with self._drawing:  # several viewers get the same picture
            if self._drawn is None or self._drawn[0] is not result:
                self._drawn = result, self._jpeg(result)
            return result.frame.number, self._drawn[1]

    def pause_s(self) -> float:
        """Between two pictures."""
        return 1 / self._settings.fps

    def state(self) -> dict[str, Any]:
        """What the page shows beside the picture."""
        result = self._newest
        latencies_ms = sorted(self._latencies_ms)
        counts = self._counts
        return {
            **self._origin._asdict(),
            "media_s": None if result is None else round(result.frame.pts_s, 3),
            "latency_ms": {
                f"p{percent}": round(latencies_ms[int((len(latencies_ms) - 1) * percent / 100)], 1)
                for percent in (50, 95, 99)
                if latencies_ms
            },
            "frames": counts.handed_on,
            "dropped": counts.dropped,
            "broken": counts.broken,
            "reconnects": counts.reconnects,
            "behind_s": round(counts.behind_s, 3),
            "hands": [
                {
                    "hand": hand.hand_id,
                    "action": hand.action,
                    "confidence": round(hand.confidence, 3),
                    "score": round(hand.score, 3),
                    "top": [[action, round(probability, 3)] for action, probability in hand.top],
                }
                for hand in (result.hands if result else ())
            ],
            "events": list(self._events),
        }

    def _is_newer(self, after: int) -> bool:
        return self._newest is not None and self._newest.frame.number > after

    def _jpeg(self, result: FrameResult) -> bytes:
        import cv2

        image_bgr = self._overlay.draw(result)[..., ::-1]
        return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


class _Handler(BaseHTTPRequestHandler):
    view: LiveView
    server_version = "lineact"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in (HOST, "localhost"):
            self.send_error(421, "ask for 127.0.0.1")  # another name that leads here is a stranger's
            return
        path = urlsplit(self.path).path
        if path in PAGES:
            name, kind = PAGES[path]
            self._send(files("lineact.runtime.outputs").joinpath("page", name).read_bytes(), kind)
        elif path == "/state.json":
            self._send(json.dumps(self.view.state(), ensure_ascii=False).encode(), "application/json")
        elif path == "/frames.mjpg":
            self._send_pictures()
        else:
            self.send_error(404)

    def _send(self, content: bytes, kind: str) -> None:
        self._begin(kind, {"Content-Length": str(len(content))})
        self.wfile.write(content)

    def _begin(self, kind: str, more: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in ({"Content-Type": kind} | HEADERS | more).items():
            self.send_header(name, value)
        self.end_headers()

    def _send_pictures(self) -> None:
        if not self.view.viewers.acquire(blocking=False):
            self.send_error(503, "too many viewers")
            return
        try:
            self._begin(f"multipart/x-mixed-replace; boundary={BOUNDARY}", {})
            number = -1
            while not self.view.closed:
                picture = self.view.next_picture(number)
                if picture is None:
                    continue
                number, jpeg = picture
                heading = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(heading.encode() + jpeg + b"\r\n")
                time.sleep(self.view.pause_s())
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            return  # the viewer has gone
        finally:
            self.view.viewers.release()

    def log_message(self, format: str, *arguments: Any) -> None:
        logging.getLogger(__name__).debug(format, *arguments)
