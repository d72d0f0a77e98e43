"""A proxy before the API server that counts writes, kills at one, and answers with faults.

Faults of a server cannot be had from a healthy one; everything else goes through unchanged.
"""

import asyncio
import contextlib
import random
import ssl
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from lightkube import KubeConfig

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_EXPIRED = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "Expired",
    "message": "too old resource version",
    "code": 410,
}
_INTERNAL = {"reason": "InternalError", "message": "etcd event received", "code": 500}
_HOP = {"host", "transfer-encoding", "content-length", "connection", "content-encoding"}


class ApiProxy:
    """Listens on a port of 127.0.0.1 from a thread of its own.

    :param kubeconfig: how the real server is reached; with a client certificate.
    """

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = KubeConfig.from_file(kubeconfig).get()
        assert config
        self._server = str(config.cluster.server)
        self._tls = _tls(config, folder)
        self.writes = 0
        self.on_write: Callable[[int], bool] = lambda number: True
        """Told the number of each write before it is passed on; False drops it."""
        self.fault_share = 0.0
        """Share of requests that are answered with 429, 500 or not at all."""
        self.faults = 0
        self.refusal: int | None = None
        """The status with which everything is refused, if it is."""
        self.refusals = 0
        self.broken_watches: str | None = None
        """Part of the path of watches that begin with an error 500 of the server."""
        self.expired = False
        """Whether watches are refused, because what they would go on from is too long ago."""
        self._watches: weakref.WeakSet[aiohttp.ClientResponse] = weakref.WeakSet()
        self.ended_watches: set[str] = set()
        """Paths whose watch was ended so."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(120)
        self.kubeconfig = folder / "proxy.kubeconfig"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "proxy",
                    "clusters": [
                        {"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
                    ],
                    "users": [{"name": "proxy", "user": {}}],
                    "contexts": [
                        {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}
                    ],
                }
            )
        )

    def expire_watches(self) -> None:
        """End all watches; until ``expired`` is taken back, they cannot go on where they were."""
        self.expired = True
        self.end_watches()

    def end_watches(self) -> None:
        """Break off all watches."""

        def end() -> None:
            for answer in list(self._watches):
                answer.close()

        self._loop.call_soon_threadsafe(end)

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0), auto_decompress=False
        )
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        sockets: Any = site._server
        self.port = int(sockets.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self.refusal:
            self.refusals += 1
            body = {"kind": "Status", "apiVersion": "v1", "code": self.refusal, "message": "no"}
            return web.json_response(body, status=self.refusal)
        broken = self.broken_watches is not None and self.broken_watches in request.path
        if broken and "watch" in request.query:
            return web.json_response({"type": "ERROR", "object": _EXPIRED | _INTERNAL})
        if self.expired and "watch" in request.query:
            await asyncio.sleep(0.5)
            self.ended_watches.add(request.path)
            return web.json_response({"type": "ERROR", "object": _EXPIRED})
        if random.random() < self.fault_share:
            self.faults += 1
            return await self._fault()
        if request.method in _WRITES:
            self.writes += 1
            if not self.on_write(self.writes):
                raise web.HTTPServiceUnavailable
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        body = await request.read()
        async with self._session.request(
            request.method,
            self._server + request.raw_path,
            data=body or None,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if "watch" in request.query:
                self._watches.add(answer)
                # It may have expired while this was asked for.
                if self.expired:
                    answer.close()
            kept = {k: v for k, v in answer.headers.items() if k.lower() != "transfer-encoding"}
            passed = web.StreamResponse(status=answer.status, headers=kept)
            await passed.prepare(request)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async for chunk in answer.content.iter_any():
                    await passed.write(chunk)
                await passed.write_eof()
            return passed

    async def _fault(self) -> web.Response:
        match random.choice(("429", "500", "page", "slow")):
            case "429":
                body = {"kind": "Status", "apiVersion": "v1", "code": 429, "message": "slow down"}
                return web.json_response(body, status=429, headers={"Retry-After": "1"})
            case "500":
                body = {"kind": "Status", "apiVersion": "v1", "code": 500, "message": "broken"}
                return web.json_response(body, status=500)
            case "page":
                return web.Response(status=502, text="<html>Bad Gateway</html>")
            case _:
                await asyncio.sleep(2)
                raise ConnectionResetError


def _tls(config: Any, folder: Path) -> ssl.SSLContext:
    import base64

    def file(name: str, path: str | None, data: str | None) -> str | None:
        if data is None:
            return path
        made = folder / name
        made.write_bytes(base64.b64decode(data))
        return str(made)

    cluster, user = config.cluster, config.user
    context = ssl.create_default_context(
        cafile=file("ca", cluster.certificate_auth, cluster.certificate_auth_data)
    )
    if user and (certificate := file("crt", user.client_cert, user.client_cert_data)):
        context.load_cert_chain(certificate, file("key", user.client_key, user.client_key_data))
    return context
