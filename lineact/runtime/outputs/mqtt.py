"""Events to an MQTT broker, at least once each: they wait on disk while it is away. And products from there."""

import contextlib
import json
import logging
import queue
import re
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from lineact.errors import ConfigError, FullDiskError, InputError, LineactError
from lineact.runtime.events import Origin
from lineact.runtime.outputs.outbox import Outbox
from lineact.runtime.products import Products, product_of
from lineact.runtime.settings import MqttSettings
from lineact.runtime.work.events import Reported
from lineact.secret_file import read_secret

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

MOST_IN_FLIGHT = 20  # unacknowledged messages at a time
QOS_AT_LEAST_ONCE = 1
FLUSH_S = 5.0  # how long the end waits for acknowledgements
RETRY_S = 1.0
MOST_LATE = 100_000  # events in memory where the outbox fails
_FILTER = re.compile(r"(([^+#/\0]*|\+)/)*([^+#/\0]*|\+|#)")  # MQTT's topic filters
MOST_RETRY_S = 30

log = logging.getLogger(__name__)


class MqttOutput:
    """Publishes events from an outbox on disk.

    Args:
        settings: see `MqttSettings`.
        origin: whose events, for the topic.
        outbox: where they wait.
        products: gets what comes on the product topic.
        missed: events in the event file that never reached the outbox: a kill came before, or it failed.

    Raises:
        ConfigError: where a setting is none that a broker takes, or a file of the settings cannot be read.
        LineactError: of the outbox.
    """

    def __init__(
        self,
        settings: MqttSettings,
        origin: Origin,
        outbox: Outbox,
        products: Products,
        missed: Sequence[dict[str, Any]],
    ) -> None:
        self._settings = settings
        refuse(settings)
        self._topic = topic_of(settings.topic, origin)
        self._outbox = outbox
        self._products = products
        self._todo: queue.SimpleQueue[int | str] = queue.SimpleQueue()
        self._connected = False
        self._in_flight: dict[int, int] = {}  # message id -> number in the outbox
        self._sent = 0  # number of the last message sent in this process
        self._late: deque[dict[str, Any]] = deque()  # not in the outbox, which fails; one thread puts, another takes
        self._trouble: LineactError | None = None  # of the outbox; told once
        for event in missed:
            self._put(event)
        self._waiting = len(outbox)
        if self._waiting:
            log.info("%d events wait for the broker", self._waiting)
        self._client = self._opened()
        self._sender = Thread(target=self._send_until_closed, name="mqtt", daemon=True)
        self._sender.start()

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged; the last number that was known where the outbox fails."""
        with contextlib.suppress(LineactError):
            self._waiting = len(self._outbox)
        return self._waiting + len(self._late)

    def write(self, event: Reported) -> None:
        """Takes an event for good: it is on disk when this returns, or waits for an outbox that fails to mend.

        The event file has it anyway; what does not reach the outbox before the end reaches it at the next start.

        Raises:
            FullDiskError: where the disk is full.
            LineactError: where the outbox fails for so long that memory must not hold more.
        """
        if not self._late:
            try:
                self._put(event.as_json())
            except FullDiskError:
                raise
            except LineactError as error:
                self._tell(error)
                self._late.append(event.as_json())
        elif self._trouble and len(self._late) >= MOST_LATE:
            raise self._trouble
        else:
            self._late.append(event.as_json())
        self._todo.put("added")

    def close(self) -> None:
        """Gives the broker a few seconds to acknowledge; what still waits is sent at the next start."""
        until_s = time.monotonic() + FLUSH_S
        while self._connected and self.waiting and time.monotonic() < until_s:
            time.sleep(0.05)
        self._todo.put("close")
        self._sender.join()
        self._client.disconnect()
        self._client.loop_stop()
        with contextlib.suppress(LineactError):  # told before
            self._put_late()
        if self.waiting:
            log.warning("%d events still wait for the broker; they are sent at the next start", self.waiting)
        with contextlib.suppress(LineactError):
            self._outbox.close()

    def _put(self, event: dict[str, Any]) -> None:
        self._outbox.add(event["event_id"], json.dumps(event, ensure_ascii=False).encode())

    def _put_late(self) -> None:
        while self._late:
            self._put(self._late[0])
            self._late.popleft()

    def _tell(self, error: LineactError) -> None:
        if str(error) != str(self._trouble):
            log.error("%s; events go on, and to the broker when it is mended, or at the next start", error)
        self._trouble = error

    def _opened(self) -> "Client":
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        settings = self._settings
        client = Client(CallbackAPIVersion.VERSION2)
        try:
            if settings.username:
                client.username_pw_set(settings.username, _password(settings.password_file))
            if settings.ca_file:
                client.tls_set(settings.ca_file)
        except OSError as error:
            raise ConfigError(f"mqtt: {error.filename or settings.ca_file}: cannot be read ({error})") from error
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: log.warning("%s: no broker; events wait on disk", self._broker)
        client.on_disconnect = self._on_disconnect
        client.on_publish = lambda _client, _data, message_id, *_: self._todo.put(message_id)
        client.on_message = self._on_message
        client.reconnect_delay_set(1, MOST_RETRY_S)
        client.connect_async(settings.host, settings.port)
        client.loop_start()
        return client

    @property
    def _broker(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _on_connect(self, client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.warning("%s: the broker refuses this client (%s); events wait on disk", self._broker, reason)
            return
        log.info("%s: connected", self._broker)
        if self._settings.product_topic:
            client.subscribe(self._settings.product_topic, QOS_AT_LEAST_ONCE)
        self._connected = True
        self._todo.put("connected")

    def _on_disconnect(self, _client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._connected and reason.is_failure:
            log.warning("%s: the broker is gone (%s); events wait on disk", self._broker, reason)
        self._connected = False

    def _on_message(self, _client: "Client", _data: Any, message: "MQTTMessage") -> None:
        try:
            self._products.tell(product_of(bytes(message.payload)), time.monotonic())
        except (ValueError, AttributeError) as error:
            log.warning("%s: expected a product's number, found something else (%s)", message.topic, error)

    def _send_until_closed(self) -> None:
        acknowledged: set[int] = set()
        while (todo := self._todo.get()) != "close":
            if isinstance(todo, int):
                acknowledged.add(todo)
            try:
                self._put_late()
                self._remove(acknowledged)
                self._send()
                self._remove(acknowledged)  # an acknowledgement may come before `publish` returns
                if self._trouble:
                    log.info("the events that wait for the broker are written again")
                    self._trouble = None
            except LineactError as error:
                self._tell(error)
                time.sleep(RETRY_S)
                self._todo.put("again")

    def _remove(self, acknowledged: set[int]) -> None:
        for message_id in acknowledged & set(self._in_flight):
            self._outbox.remove(self._in_flight[message_id])
            del self._in_flight[message_id]
            acknowledged.discard(message_id)

    def _send(self) -> None:
        """Sends what waits. paho itself sends again, after a new connection, what was not acknowledged."""
        free = MOST_IN_FLIGHT - len(self._in_flight)
        if not self._connected or free < 1:
            return
        for number, payload in self._outbox.after(self._sent, free):
            self._in_flight[self._client.publish(self._topic, payload, QOS_AT_LEAST_ONCE).mid] = number
            self._sent = number


def refuse(settings: MqttSettings) -> None:
    """Lets settings through.

    Raises:
        ConfigError: for what paho would refuse in its own thread, where nobody sees it: nothing would ever be sent.
    """
    if not 0 < settings.port < 1 << 16:
        raise ConfigError(f"mqtt.port: expected a port from 1 to 65535, found {settings.port}")
    if settings.product_topic and not _FILTER.fullmatch(settings.product_topic):
        raise ConfigError(
            f"mqtt.product_topic: expected a topic, with + for a level or # for the last ones, "
            f"found {settings.product_topic!r}"
        )


def topic_of(pattern: str, origin: Origin) -> str:
    """The topic, with {line} and {camera} filled in; what has a meaning in topics becomes "_" there.

    Raises:
        ConfigError: where the pattern has another field, or makes no topic that events can be sent to.
    """
    try:
        topic = pattern.format(line=_level(origin.line), camera=_level(origin.camera))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ConfigError(f"mqtt.topic: expected no fields but {{line}} and {{camera}}, found {pattern!r}") from error
    if not topic or re.search(r"[+#\0]", topic):
        raise ConfigError(f"mqtt.topic: expected a topic without +, # and NUL, found {pattern!r}")
    return topic


def _level(name: str) -> str:
    return re.sub(r"[/+#\s\0]+", "_", name)


def _password(path: str) -> str | None:
    """What the file holds; None where none is named."""
    try:
        return read_secret(Path(path), "broker's password") if path else None
    except InputError as error:
        raise ConfigError(f"mqtt: {error}") from error
