"""The API server: the few requests that the operator makes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.types import CascadeType, PatchType

from webevents_operator import metrics, names
from webevents_operator.diff import Ref
from webevents_operator.kinds import BY_NAME, Kind, Object

TIMEOUT_S = 30.0
_PAGE = 100
"""Objects of one answer to a list."""


class ApiFailure(Exception):
    """The API server did not do what was asked.

    :param status: HTTP status; 0 where there was no answer.
    """

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"{what}: {message}")
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether it is the server's state, not the request."""
        return self.status in (0, 401, 408, 429) or self.status >= 500


@contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        status = int(error.status.code or 0)
        raise ApiFailure(what, status, str(error.status.message or error)) from None
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise ApiFailure(what, status, f"the API server answers {status}") from None
    except (httpx2.HTTPError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise ApiFailure(what, 0, f"no answer ({reason})") from None
    except ValueError as error:  # a proxy's page where JSON should be
        raise ApiFailure(what, 502, f"not an answer of the API server ({error})") from None


class Listing:
    """Objects of a list as they come; ``version`` is that of the list, once they have."""

    def __init__(self, kind: Kind, answer: Any) -> None:
        self._kind, self._answer = kind, answer

    async def __aiter__(self) -> AsyncIterator[Object]:
        with _asking(f"list {self._kind.plural}"):
            async for each in self._answer:
                # Items of a list do not say of what kind they are.
                yield each | {"apiVersion": self._kind.api_version, "kind": self._kind.kind}

    @property
    def version(self) -> str:
        """The version of the list, from which a watch goes on."""
        return str(self._answer.resourceVersion or "")


class Cluster:
    """Requests to the API server. All raise :class:`ApiFailure`."""

    def __init__(self) -> None:
        self._client = AsyncClient(
            field_manager=names.FIELD_MANAGER, timeout=httpx2.Timeout(TIMEOUT_S)
        )

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object; None where it, or its API, is not there."""
        with _asking(f"get {kind.kind} {namespace}/{name}"):
            try:
                return dict(await self._client.get(kind.resource, name, namespace=namespace))
            except ApiError as error:
                if error.status.code == 404:
                    return None
                raise

    async def apply(
        self, wanted: Object, *, force: bool, manager: str = names.FIELD_MANAGER
    ) -> Object:
        """Server-side apply; without ``force`` fields of other managers are refused (409)."""
        kind, metadata = BY_NAME[wanted["kind"]], wanted["metadata"]
        metrics.WRITES.labels(kind.kind, "apply").inc()
        with _asking(f"apply {kind.kind} {metadata['namespace']}/{metadata['name']}"):
            return dict(
                await self._client.patch(
                    kind.resource,
                    metadata["name"],
                    kind.resource(wanted),
                    namespace=metadata["namespace"],
                    patch_type=PatchType.APPLY,
                    force=force,
                    field_manager=manager,
                )
            )

    async def merge(self, ref: Ref, patch: Object) -> None:
        """Merge a patch into an object."""
        metrics.WRITES.labels(ref.kind, "patch").inc()
        with _asking(f"patch {ref}"):
            await self._client.patch(
                BY_NAME[ref.kind].resource,
                ref.name,
                patch,
                namespace=ref.namespace,
                patch_type=PatchType.MERGE,
            )

    async def apply_status(self, kind: Kind, namespace: str, name: str, status: Object) -> Object:
        """Server-side apply of an object's status; returns the object."""
        metrics.WRITES.labels(kind.kind, "status").inc()
        body = kind.of(name, namespace, status=status)
        with _asking(f"apply status of {kind.kind} {namespace}/{name}"):
            return dict(
                await self._client.patch(
                    kind.resource.Status,
                    name,
                    kind.resource.Status(body),
                    namespace=namespace,
                    patch_type=PatchType.APPLY,
                    force=True,
                )
            )

    async def create(self, made: Object) -> None:
        """Make an object."""
        kind = BY_NAME[made["kind"]]
        metrics.WRITES.labels(kind.kind, "create").inc()
        with _asking(f"create {kind.kind}"):
            client: Any = self._client  # its overloads do not know generic resources
            await client.create(kind.resource(made), namespace=made["metadata"]["namespace"])

    async def delete(self, ref: Ref) -> None:
        """Remove an object and what it owns; one that is not there is as good as removed."""
        metrics.WRITES.labels(ref.kind, "delete").inc()
        with _asking(f"delete {ref}"):
            try:
                await self._client.delete(
                    BY_NAME[ref.kind].resource,
                    ref.name,
                    namespace=ref.namespace,
                    # A Job would leave its pods behind, which the operator may not delete.
                    cascade=CascadeType.BACKGROUND,
                )
            except ApiError as error:
                if error.status.code != 404:
                    raise

    async def list(
        self, kind: Kind, namespace: str | None, labels: dict[str, str]
    ) -> tuple[list[Object], str]:
        """The objects of a kind in a namespace or all (None), and the version of the list."""
        listing = self.listing(kind, namespace, labels)
        return [each async for each in listing], listing.version

    def listing(self, kind: Kind, namespace: str | None, labels: dict[str, str]) -> "Listing":
        """The same one by one, for many: thousands at once would take ten times their memory."""
        answer = self._client.list(
            kind.resource, namespace=namespace or "*", labels=dict(labels), chunk_size=_PAGE
        )
        return Listing(kind, answer)

    async def watch(
        self, kind: Kind, namespace: str | None, labels: dict[str, str], version: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """Changes since a version; ends when the server ends it."""
        with _asking(f"watch {kind.plural}"):
            answer: Any = self._client.watch(
                kind.resource,
                namespace=namespace or "*",
                labels=dict(labels),
                resource_version=version,
                server_timeout=290,
            )
            async for what, found in answer:
                yield what, dict(found)

    async def has_api(self, kind: Kind, namespace: str | None) -> bool:
        """Whether the server has the API of a kind, and we may read it."""
        try:
            await self.list(kind, namespace, {names.MANAGED_BY: "nobody"})
        except ApiFailure as failure:
            if failure.status in (403, 404):
                return False
            raise
        return True

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()
