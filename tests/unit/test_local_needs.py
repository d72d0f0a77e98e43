"""Which servers a pipeline gets on this machine."""

from pathlib import Path
from typing import Any

import pytest

from webevents.local.needs import needs
from webevents.spec.pipeline import PipelineSpec


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({}, ["Kafka", "Elasticsearch"]),
        ({"elasticsearch": {"engine": "opensearch"}}, ["Kafka", "OpenSearch"]),
        ({"elasticsearch": {"engine": "opensearch", "urls": ["https://a:9200"]}}, ["Kafka"]),
        ({"elasticsearch": {"engine": "opensearch"}, "index": {"enabled": False}}, ["Kafka"]),
        ({"kafka": {"bootstrapServers": "a:9092"}, "index": {"enabled": False}}, []),
    ],
)
def test_only_what_a_pipeline_needs_and_does_not_name(
    spec: dict[str, Any], names: list[str], tmp_path: Path
) -> None:
    made = needs(PipelineSpec.model_validate(spec), tmp_path)
    assert [need.server.name for need in made] == names
    assert list(tmp_path.iterdir()) == []
