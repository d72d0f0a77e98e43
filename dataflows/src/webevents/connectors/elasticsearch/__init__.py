"""Elasticsearch and OpenSearch: the connection, the index templates and the bulk writer."""

from webevents.connectors.elasticsearch.bulk import BulkWriter
from webevents.connectors.elasticsearch.client import (
    SearchClient,
    Unreachable,
    connect,
    count,
    documents_by_index,
    explained,
    refresh,
)
from webevents.connectors.elasticsearch.responses import ItemError
from webevents.connectors.elasticsearch.submission import BulkHandle, BulkResult
from webevents.connectors.elasticsearch.templates import ensure_templates
from webevents.connectors.retrying import Backoff, Outage

__all__ = [
    "Backoff",
    "BulkHandle",
    "BulkResult",
    "BulkWriter",
    "ItemError",
    "Outage",
    "SearchClient",
    "Unreachable",
    "connect",
    "count",
    "documents_by_index",
    "ensure_templates",
    "explained",
    "refresh",
]
