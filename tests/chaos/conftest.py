"""Servers of a test's own, and what each test says of itself for the table of results."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from requirements import require

from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka

Told = Callable[[str], None]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a server of a kind, with its arguments; it is stopped after the test."""
    with ExitStack() as stack:

        def start(kind: type[Any], **arguments: Any) -> Any:
            require(kind)
            return stack.enter_context(kind(tmp_path / kind.name.lower(), **arguments))

        yield start


@pytest.fixture
def kafka(servers: Callable[..., EmbeddedKafka]) -> EmbeddedKafka:
    """A Kafka."""
    return servers(EmbeddedKafka)


@pytest.fixture
def elasticsearch(servers: Callable[..., EmbeddedElasticsearch]) -> EmbeddedElasticsearch:
    """An Elasticsearch."""
    return servers(EmbeddedElasticsearch)


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Told:
    """Have a sentence about what was seen go into the table."""

    def tell(text: str) -> None:
        request.node.user_properties.append(("seen", text))
        print(f"\n  {text}", end="", flush=True)

    return tell
