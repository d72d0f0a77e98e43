"""The collector's application: from a request to its answer (RSGI, Granian's own interface)."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import structlog
from granian._granian import RSGIProtocolClosed as ProtocolClosed

from webevents.events.event import InvalidEvent
from webevents.sources.collector.answers import (
    Answer,
    check_head,
    headers_of,
    probe,
    refusal,
    write_key,
)
from webevents.sources.collector.body import read_body
from webevents.sources.collector.delivery import Delivery
from webevents.sources.collector.draft import Batch
from webevents.sources.collector.facts import FactReader
from webevents.sources.collector.finish import Finisher
from webevents.sources.collector.metrics import CollectorMetrics
from webevents.sources.collector.origins import Headers, cors, preflight
from webevents.sources.collector.pages import HTML, Pages
from webevents.sources.collector.privacy import Privacy
from webevents.sources.collector.rates import Buckets
from webevents.sources.collector.refusal import Refused
from webevents.sources.collector.routes import JSON, Route, routes
from webevents.sources.collector.settings import CollectorSettings
from webevents.sources.collector.sites import Site, Sites
from webevents.sources.collector.skew import ClockSkew
from webevents.sources.collector.work import Work

log = structlog.get_logger()
NO_STORE = ("cache-control", "no-store")


class App:
    """Answers requests.

    :param settings: the workload's.
    :param sites: who may send.
    :param delivery: where events go.
    :param metrics: what is counted.
    :raises webevents.errors.UserError: when a secret cannot be read.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        sites: Sites,
        delivery: Delivery,
        metrics: CollectorMetrics,
    ) -> None:
        spec = settings.collector
        self._settings = settings
        self._limits = spec.limits
        self._sites = sites
        self._delivery = delivery
        self._metrics = metrics
        self._routes = routes(spec, settings.purchase_types)
        self._privacy = Privacy(spec.privacy)
        self._facts = FactReader(spec, self._privacy)
        skew = ClockSkew(spec.clock_skew)
        self._finisher = Finisher(settings.key, settings.max_event_bytes, skew, self._privacy)
        rate = spec.limits.events_per_second_per_address
        self._addresses = None if rate is None else Buckets(rate)
        self._pages = Pages(spec)
        self.stopping = False

    def unready(self) -> str | None:
        """Why no requests should come; None where they should."""
        return "stopping" if self.stopping else self._delivery.unready()

    async def __rsgi__(self, scope: Any, stream: Any) -> None:
        """Answer one request; called by the server."""
        began = time.perf_counter()
        route = self._routes.get(scope.path)
        endpoint = route.endpoint if route else "other"
        headers = headers_of(scope.headers)
        allowed = self._cors(headers)
        try:
            answer = await self._answer(route, scope, headers, stream)
        except ProtocolClosed:
            return  # the client left before it had sent everything
        except Refused as refused:
            self._metrics.refused(refused.reason)
            answer = refusal(refused, route)
        except Exception:
            # Not the payload: it holds what belongs to a person.
            log.exception("a request failed", endpoint=endpoint)
            self._metrics.refused("internal_error")
            answer = refusal(Refused("internal_error", "see the collector's log"), route)
        sent = [("content-type", answer.content_type), NO_STORE, *allowed, *answer.headers]
        if self.stopping:
            sent.append(("connection", "close"))  # the client's next one goes to another copy
        with contextlib.suppress(ProtocolClosed):  # the client left before its answer
            if scope.method == "HEAD":
                stream.response_empty(answer.status, sent)
            else:
                stream.response_bytes(answer.status, sent, answer.body)
        self._metrics.request(endpoint, answer.status, time.perf_counter() - began)

    async def _answer(
        self, route: Route | None, scope: Any, headers: Mapping[str, str], stream: Any
    ) -> Answer:
        method = scope.method
        check_head(scope.path, scope.query_string, headers, self._limits.max_header_bytes)
        if route is None:
            return self._other(scope, headers)
        if method == "OPTIONS":
            return self._preflight(headers)
        if method == "HEAD" and route.method == "GET":
            return Answer(200, JSON, b"", [])  # a scanner that looks whether the image is there
        if method != route.method:
            raise Refused("wrong_method", f"{scope.path} takes {route.method}")
        address = self._facts.address(scope.client, headers)
        self._check_address(address)
        body = b""
        if method == "POST":
            body = await read_body(
                stream,
                headers.get("content-length"),
                headers.get("content-encoding"),
                self._limits,
            )
        return await self._collect(route, scope.query_string, headers, body, address)

    async def _collect(
        self,
        route: Route,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        address: str | None,
    ) -> Answer:
        """Take the events of a request."""
        received_us = time.time_ns() // 1000
        key = write_key(query, headers)
        try:
            batch = route.protocol.batch(body, query)
        except InvalidEvent as error:
            batch = None
            problem = error
        site = self._site(key, batch)
        self._check_site(site, headers)
        facts = self._facts.read(address, headers, site, received_us)
        work = Work(self._settings, self._finisher, route, facts, body, query)
        if batch is None:
            work.take_unreadable(problem)
        elif len(batch.items) > self._limits.max_batch:
            raise Refused(
                "batch_too_large", f"more than {self._limits.max_batch} events in one request"
            )
        else:
            work.take(batch)
        self._charge(site, address, max(1, len(batch.items) if batch else 1))
        fate = await self._delivery.deliver(work.messages) if work.messages else "delivered"
        name = route.protocol.name
        self._metrics.events(name, site.name, fate, len(work.messages) - len(work.outcome.failed))
        self._metrics.events(name, site.name, "failed", len(work.outcome.failed))
        self._metrics.events(name, site.name, "opted_out", work.opted_out)
        work.outcome.accepted += work.opted_out
        status, content_type, content = route.answer(work.outcome)
        cookie = facts.visitor.set_cookie if work.uses_cookie else None
        return Answer(
            status,
            content_type,
            content,
            [("set-cookie", cookie)] if cookie else [],
        )

    def _site(self, key: str | None, batch: Batch | None) -> Site:
        if key is None and batch is not None:
            key = batch.write_key or batch.app_id
        if key is None and batch is None:
            return Site(None, self._sites.default)  # the key may be what cannot be read
        return self._sites.find(key)

    def _check_site(self, site: Site, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin")
        if origin is not None and not site.origins.allow(origin):
            raise Refused("origin", "pages of this origin may not send")
        if site.bucket is not None and (wait := site.bucket.wait()):
            raise Refused("rate_of_site", "too many events of this site", retry_after=wait)

    def _check_address(self, address: str | None) -> None:
        if self._addresses is None or address is None:
            return
        if wait := self._addresses.of(address).wait():
            raise Refused("rate_of_address", "too many events of this address", retry_after=wait)

    def _charge(self, site: Site, address: str | None, count: int) -> None:
        if site.bucket is not None:
            site.bucket.take(count)
        if self._addresses is not None and address is not None:
            self._addresses.of(address).take(count)

    def _cors(self, headers: Mapping[str, str]) -> Headers:
        origin = headers.get("origin")
        return cors(origin) if origin and self._sites.allow_origin(origin) else []

    def _preflight(self, headers: Mapping[str, str]) -> Answer:
        origin = headers.get("origin")
        if origin is None or not self._sites.allow_origin(origin):
            raise Refused("origin", "pages of this origin may not send")
        return Answer(204, JSON, b"", preflight(headers))

    def _other(self, scope: Any, headers: Mapping[str, str]) -> Answer:
        """What is not of a tracker's protocol: probes, settings for browsers, the demo."""
        match scope.path:
            case "/healthz":
                return probe(self._metrics.unhealthy())
            case "/readyz":
                return probe(self.unready())
        secure = scope.scheme == "https" or (
            self._facts.trusts(scope.client) and headers.get("x-forwarded-proto") == "https"
        )
        page = self._pages.find(scope.method, scope.path, headers, secure=secure)
        if page is None:
            raise Refused("not_found", "there is nothing at this path")
        status, content_type, body, more = page
        if content_type == HTML:
            # With the page, so that the first two events of a new visitor have one identifier.
            address = self._facts.address(scope.client, headers)
            anyone = Site(None, self._sites.default)
            facts = self._facts.read(address, headers, anyone, time.time_ns() // 1000)
            if facts.visitor.set_cookie:
                more = [*more, ("set-cookie", facts.visitor.set_cookie)]
        return Answer(status, content_type, body, more)
