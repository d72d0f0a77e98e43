"""OpenSearch, by its own client, over the transport that Elasticsearch's client has too.

So secrets and certificates are read again when they change, and errors are of the same classes,
whichever of the two answers.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from elasticsearch import ApiError, UnsupportedProductError
from elasticsearch.exceptions import HTTP_EXCEPTIONS

from webevents.connectors.elasticsearch.transport import ReloadingTransport

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

_HEADERS = {"accept": "application/json", "content-type": "application/json"}


class OpenSearchTransport:
    """What the client calls in place of a transport of its own.

    :param hosts: unused; the client gives them.
    :param inner: the transport that sends.
    """

    def __init__(self, hosts: Any, inner: ReloadingTransport) -> None:
        self.inner = inner

    def perform_request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
    ) -> Any:
        """Send one request.

        :returns: the decoded answer.
        :raises elasticsearch.ApiError: when OpenSearch refuses.
        :raises elasticsearch.UnsupportedProductError: when Elasticsearch answers.
        :raises elastic_transport.TransportError: when there is no answer.
        """
        query = {k: v for k, v in (params or {}).items() if k not in ("request_timeout", "ignore")}
        target = f"{url}?{urlencode(query)}" if query else url
        meta, answer = self.inner.perform_request(
            method,
            target,
            headers={**_HEADERS, **(headers or {})},
            body=body,
            request_timeout=timeout or self.inner.request_timeout_s,
        )
        if "x-elastic-product" in meta.headers:
            raise UnsupportedProductError(message="Elasticsearch", meta=meta, body=answer)
        if not 200 <= meta.status < 300 and meta.status not in ignore:
            error = answer.get("error", answer) if isinstance(answer, dict) else answer
            kind = error.get("type", error) if isinstance(error, dict) else error
            raise HTTP_EXCEPTIONS.get(meta.status, ApiError)(
                message=str(kind), meta=meta, body=answer
            )
        return answer

    def close(self) -> None:
        """Close the connections."""
        self.inner.close()


def opensearch(inner: ReloadingTransport) -> "OpenSearch":
    """The client of OpenSearch over a transport."""
    from opensearchpy import OpenSearch  # 10 MB of memory that most processes need not have

    # The client calls no more of it than is here.
    return OpenSearch(transport_class=OpenSearchTransport, inner=inner)  # type: ignore[arg-type]
