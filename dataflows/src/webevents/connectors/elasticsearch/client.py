"""The connection to Elasticsearch or OpenSearch, and errors that say what to do."""

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import elastic_transport
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError

from webevents.connectors.elasticsearch.opensearch import OpenSearchTransport, opensearch
from webevents.connectors.elasticsearch.transport import (
    Credentials,
    ReloadingNode,
    ReloadingTransport,
)
from webevents.errors import UserError
from webevents.spec.elasticsearch import ElasticsearchSpec, ElasticsearchTls

if TYPE_CHECKING:
    from opensearchpy import OpenSearch


class Unreachable(UserError):
    """Elasticsearch does not answer, or not yet; trying again may help."""


SearchClient: TypeAlias = "Elasticsearch | OpenSearch"
"""Their APIs agree in all that is used here."""


def connect(spec: ElasticsearchSpec) -> SearchClient:
    """Make a client of what ``spec.engine`` says; nothing is sent yet.

    :param spec: with ``urls`` filled in.
    :raises UserError: when a file or variable with a secret or certificate cannot be read.
    """
    if not spec.urls:
        raise UserError(
            "spec.elasticsearch.urls is not set: name a node, such as https://host:9200"
        )
    options: dict[str, Any] = {}
    if spec.tls is not None:
        options["verify_certs"] = spec.tls.verify
        if not spec.tls.verify:
            options["ssl_show_warn"] = False
            options["ssl_assert_hostname"] = False
        if spec.tls.ca_file is not None:
            options["ca_certs"] = spec.tls.ca_file
        if spec.tls.cert_file is not None:
            options |= {"client_cert": spec.tls.cert_file, "client_key": spec.tls.key_file}
    # It tells of every attempt in vain; the writer and the callers tell of outages themselves.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    credentials = Credentials(spec)
    _check_certificates(spec.tls)
    timeout_s = spec.request_timeout.total_seconds()
    client = Elasticsearch(
        list(spec.urls),
        transport_class=ReloadingTransport,
        node_class=ReloadingNode,
        # As many requests at once as spec.index.bulk.inFlight can ask for.
        connections_per_node=32,
        request_timeout=timeout_s,
        **options,
    )
    transport = transport_of(client)
    transport.credentials, transport.request_timeout_s = credentials, timeout_s
    transport.product = spec.product
    return opensearch(transport) if spec.engine == "opensearch" else client


def _check_certificates(tls: ElasticsearchTls | None) -> None:
    """Load the files once: the client itself would say so at its first request only.

    :raises UserError: when one cannot be read or is no PEM certificate or key.
    """
    if tls is None:
        return
    context = ssl.create_default_context()
    field = "caFile"
    try:
        if tls.ca_file is not None:
            context.load_verify_locations(tls.ca_file)
        if tls.cert_file is not None:
            field = "certFile and keyFile"
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(
            f"spec.elasticsearch.tls: {field} cannot be used: {error.strerror or error}"
        ) from None


def transport_of(client: SearchClient) -> ReloadingTransport:
    """The transport of a client that :func:`connect` made."""
    transport = client.transport
    if isinstance(transport, OpenSearchTransport):
        return transport.inner
    assert isinstance(transport, ReloadingTransport)
    return transport


@contextmanager
def explained(client: SearchClient) -> Iterator[None]:
    """Turn the client's errors into ones that a person can mend.

    :raises Unreachable: when there is no answer, or one that may change by itself.
    :raises UserError: when Elasticsearch refuses the request.
    """
    transport = transport_of(client)
    name = transport.product
    nodes = ", ".join(node.base_url for node in transport.node_pool.all())
    try:
        yield
    except elastic_transport.TlsError:
        raise Unreachable(
            f"No trusted TLS connection to {name} at {nodes}: set spec.elasticsearch.tls."
            "caFile to the authority that signed its certificate, and use the name in it"
        ) from None
    except UnsupportedProductError:
        raise _other_product(name, nodes) from None
    except elastic_transport.TransportError:
        raise Unreachable(
            f"{name} at {nodes} does not answer: start it, or correct spec.elasticsearch.urls"
        ) from None
    except ApiError as error:
        # OpenSearch does not know the media type by which Elasticsearch's client asks.
        if error.meta.status == 406 and name == "Elasticsearch":
            raise _other_product(name, nodes) from None
        raise _explain(error, f"{name} at {nodes}") from None


def _other_product(name: str, nodes: str) -> UserError:
    other = "opensearch" if name == "Elasticsearch" else "elasticsearch"
    return UserError(
        f"What answers at {nodes} is not {name}: correct spec.elasticsearch.urls, or set "
        f"spec.elasticsearch.engine to {other} where it is that"
    )


def _explain(error: ApiError, who: str) -> UserError:
    status = error.meta.status
    if status == 401:
        return UserError(
            f"{who} refuses the credentials: correct those that spec.elasticsearch names"
        )
    if status == 403:
        return UserError(
            f"{who} does not permit this: give the user of spec.elasticsearch "
            "the privileges named in docs/indices.md"
        )
    if status in (408, 429) or status >= 500:
        return Unreachable(f"{who} is not ready (status {status})")
    reason = str(error)
    if isinstance(error.body, dict) and isinstance(error.body.get("error"), dict):
        reason = str(error.body["error"].get("reason", reason))
    return UserError(f"{who} refuses (status {status}): {reason[:1000]}")


def count(client: SearchClient, pattern: str) -> int:
    """Number of documents in the indices of a pattern that are searchable by now; 0 without any.

    :raises UserError: see :func:`explained`.
    """
    with explained(client):
        answer = client.count(index=pattern, ignore_unavailable=True, allow_no_indices=True)
    return int(answer["count"])


def refresh(client: SearchClient, pattern: str) -> None:
    """Make what was written to the indices of a pattern searchable at once.

    :raises UserError: see :func:`explained`.
    """
    with explained(client):
        client.indices.refresh(index=pattern, ignore_unavailable=True, allow_no_indices=True)


def documents_by_index(client: SearchClient, pattern: str) -> dict[str, int]:
    """Number of documents of each index of a pattern that are searchable by now.

    :raises UserError: see :func:`explained`.
    """
    with explained(client):
        answer = client.indices.stats(
            index=pattern,
            metric="docs",
            filter_path="indices.*.primaries.docs.count",
            expand_wildcards="open",
        )
    return {
        name: int(stats["primaries"]["docs"]["count"])
        for name, stats in answer.get("indices", {}).items()
    }
