"""The collector's application without a server and without Kafka, for unit tests.

The fake delivery keeps what it is given, or refuses as it is told: what Kafka and the server do is
tested on real ones in tests/integration.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webevents.events.failed import FailedEvent, decode_failed
from webevents.sources.collector.app import App
from webevents.sources.collector.metrics import CollectorMetrics
from webevents.sources.collector.refusal import Refused
from webevents.sources.collector.settings import CollectorSettings
from webevents.sources.collector.sites import Sites
from webevents.sources.collector.spool import Message
from webevents.spec.collector import CollectorSpec
from webevents.spec.kafka import KafkaSpec

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)


class FakeDelivery:
    """Keeps messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refusal: Refused | None = None

    def unready(self) -> str | None:
        return None if self.refusal is None else "the brokers do not answer"

    async def deliver(self, messages: Sequence[Message]) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.messages += messages
        return "delivered"


class Stream:
    """The server's side of a request."""

    def __init__(self, body: bytes, pause: float = 0.0) -> None:
        self._body = body
        self._pause = pause
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    async def __call__(self) -> bytes:
        await asyncio.sleep(self._pause)
        return self._body

    async def __aiter__(self) -> Any:
        for start in range(0, len(self._body), 7):
            await asyncio.sleep(self._pause)
            yield self._body[start : start + 7]

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, headers


@dataclass
class Scope:
    """What the server tells of a request."""

    method: str
    path: str
    query_string: str
    headers: dict[str, str]
    client: str = "203.0.113.7:4711"
    scheme: str = "http"


@dataclass
class Reply:
    """An answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Collector:
    """The application with its parts.

    :param spec: spec.collector, as a file has it.
    """

    spec: dict[str, Any] = field(default_factory=dict)
    key: tuple[str, ...] = ("user_domain_id",)
    folder: Path | None = None
    max_event_bytes: int = 100_000

    def __post_init__(self) -> None:
        spec = CollectorSpec.model_validate(self.spec)
        settings = CollectorSettings(
            pipeline="shop",
            topic="raw",
            failed_topic="failed",
            key=self.key,
            max_event_bytes=self.max_event_bytes,
            max_message_bytes=10_000_000,
            purchase_types=("purchase", "transaction", "order_completed"),
            kafka=KafkaSpec(),
            collector=spec,
        )
        live = None
        if spec.sites:
            assert self.folder
            live = self.folder / "live.json"
            live.write_text(json.dumps({"sites": self.spec["sites"]}))
        self.sites = Sites(live, spec.allowed_origins)
        self.delivery = FakeDelivery()
        self.metrics = CollectorMetrics("shop")
        self.app = App(settings, self.sites, self.delivery, self.metrics)  # type: ignore[arg-type]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Any = b"",
        headers: dict[str, str] | None = None,
        *,
        client: str = "203.0.113.7:4711",
        length: str | None = "",
        pause: float = 0.0,
    ) -> Reply:
        """Send a request; a body that is not bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if raw and length is not None:
            sent.setdefault("content-length", length or str(len(raw)))
        path, _, query = path.partition("?")
        stream = Stream(raw, pause)
        scope = Scope(method, path, query, sent, client)
        asyncio.run(self.app.__rsgi__(scope, stream))
        return Reply(stream.status, stream.headers, stream.body)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        return self.request("POST", path, body, headers)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        return self.request("GET", path, b"", headers)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that were taken."""
        return [json.loads(m.value) for m in self.delivery.messages if m.topic == "raw"]

    @property
    def failed(self) -> list[FailedEvent]:
        return [decode_failed(m.value) for m in self.delivery.messages if m.topic == "failed"]

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        value = self.metrics.registry.get_sample_value(
            f"webevents_collector_{name}", {"pipeline": "shop", "stage": "collector", **labels}
        )
        return value or 0.0
