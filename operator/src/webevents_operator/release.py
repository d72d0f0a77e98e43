"""What the chart's jobs do: apply the release's pipeline, delete it, and send an event through it.

Run as ``python -m webevents_operator.release``.
"""

import asyncio
import json
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from confluent_kafka import KafkaException, Producer

from webevents.connectors.elasticsearch import connect
from webevents.connectors.elasticsearch.client import SearchClient
from webevents.connectors.kafka import client_config
from webevents.errors import UserError
from webevents.events.key import SEPARATOR
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.secrets import references, with_secrets_in
from webevents_operator import kinds
from webevents_operator.config import load_config
from webevents_operator.connections import through_strimzi
from webevents_operator.diff import Ref
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.names import Key
from webevents_operator.objects.strimzi import strimzi_namespace
from webevents_operator.outcome import Blocked
from webevents_operator.parse import read
from webevents_operator.secrets import SecretFiles, entries

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Namespace = Annotated[str, typer.Option(envvar="POD_NAMESPACE", help="The pipeline's namespace.")]
Seconds = Annotated[float, typer.Option(help="How long it may take.")]


@app.command()
def apply(file: Path, namespace: Namespace, seconds: Seconds = 60) -> None:
    """Apply the pipeline of a file."""
    wanted = yaml.safe_load(file.read_text(encoding="utf-8"))
    wanted["metadata"]["namespace"] = namespace
    asyncio.run(_apply(wanted, seconds))
    _say(f"applied {wanted['kind']} {namespace}/{wanted['metadata']['name']}")


@app.command()
def remove(name: str, namespace: Namespace, seconds: Seconds = 120) -> None:
    """Delete a pipeline and wait until it is gone."""
    asyncio.run(_remove(namespace, name, seconds))
    _say(f"removed {kinds.PIPELINE.kind} {namespace}/{name}")


@app.command()
def check(name: str, config: Path, namespace: Namespace, seconds: Seconds = 180) -> None:
    """Send one event through a pipeline and find it where it ends."""
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        pipeline = asyncio.run(_resolve(Key(namespace, name), config, Path(folder), deadline))
        _check(pipeline, deadline)


async def _apply(wanted: Object, seconds: float) -> None:
    cluster, deadline = Cluster(), time.monotonic() + seconds
    try:
        while True:
            try:
                await cluster.apply(wanted, force=True)
                return
            except ApiFailure as failure:
                # A definition that is a moment old is not served yet.
                if not (failure.passing or failure.status == 404) or time.monotonic() > deadline:
                    raise UserError(str(failure)) from None
            await asyncio.sleep(1)
    finally:
        await cluster.close()


async def _remove(namespace: str, name: str, seconds: float) -> None:
    cluster, deadline = Cluster(), time.monotonic() + seconds
    try:
        while True:
            try:
                await cluster.delete(Ref(kinds.PIPELINE.kind, namespace, name))
                found = await cluster.get(kinds.PIPELINE, namespace, name)
            except ApiFailure as failure:
                if not failure.passing:
                    raise UserError(str(failure)) from None
                found = {}
            if found is None:
                return
            if time.monotonic() > deadline:
                raise UserError(
                    f"{namespace}/{name} is not gone after {seconds:.0f} s ({_ready(found)[1]}): "
                    "mend that, or set its spec.deletionPolicy to Retain, and uninstall again"
                )
            await asyncio.sleep(1)
    finally:
        await cluster.close()


async def _resolve(key: Key, config: Path, folder: Path, deadline: float) -> WebEventPipeline:
    """The pipeline with its connections and secrets, as soon as it is ready."""
    cluster = Cluster()
    try:
        while True:
            resource = await cluster.get(kinds.PIPELINE, *key)
            is_ready, why = _ready(resource)
            if resource is not None and is_ready:
                break
            if time.monotonic() > deadline:
                raise UserError(f"{key} is not ready: {why}")
            await asyncio.sleep(1)
        pipeline = read(resource, load_config(config))
        if strimzi := pipeline.spec.kafka.strimzi:
            place = strimzi_namespace(strimzi, key)
            kafka = await cluster.get(kinds.KAFKA, place, strimzi.cluster)
            pipeline = through_strimzi(pipeline, key, kafka)
        refs = references(pipeline)
        found = {ref.name: await cluster.get(kinds.SECRET, key.namespace, ref.name) for ref in refs}
        values = entries(refs, found, key.namespace)
        return with_secrets_in(pipeline, SecretFiles(folder).write(key, values))
    except ApiFailure as failure:
        raise UserError(str(failure)) from None
    except Blocked as blocked:
        raise UserError(f"{key}: {blocked.message}") from None
    finally:
        await cluster.close()


def _ready(resource: Object | None) -> tuple[bool, str]:
    if resource is None:
        return False, "it is not there"
    for each in (resource.get("status") or {}).get("conditions") or []:
        if each["type"] == "Ready":
            return each["status"] == "True", str(each["message"])
    return False, "the operator has not looked at it yet"


def _check(pipeline: WebEventPipeline, deadline: float) -> None:
    spec, began = pipeline.spec, time.monotonic()
    if not spec.index.enabled:
        raise UserError("spec.index.enabled is false: there is no index to look at")
    event = _event(spec.sessions.key)
    _send(pipeline, event)
    _say(f"sent event {event['event_id']} to {spec.topics.raw.name}")
    with connect(spec.elasticsearch) as client:

        def find(what: str, prefix: str, field: str, value: str) -> dict[str, Any]:
            while not (hits := _search(client, prefix, field, value)):
                if time.monotonic() > deadline:
                    raise UserError(f"the {what} ({field} {value}) has not come to {prefix}-*")
                time.sleep(1)
            _say(f"found the {what} in {hits[0]['_index']} {time.monotonic() - began:.1f} s later")
            document: dict[str, Any] = hits[0]["_source"]
            return document

        document = find("event", spec.index.events.prefix, "event_id", event["event_id"])
        if spec.sessions.enabled:
            # Fields of the key may have been hashed.
            key = SEPARATOR.join(str(document.get(field, "")) for field in spec.sessions.key)
            find("session", spec.index.sessions.prefix, "session_key", key)


def _search(client: SearchClient, prefix: str, field: str, value: str) -> list[dict[str, Any]]:
    answer = client.search(index=f"{prefix}-*", body={"query": {"term": {field: value}}, "size": 1})
    hits: list[dict[str, Any]] = answer["hits"]["hits"]
    return hits


def _event(keys: tuple[str, ...]) -> dict[str, Any]:
    mark = uuid.uuid4()
    event: dict[str, Any] = {
        "event_id": str(mark),
        "event_timestamp": datetime.now(UTC).isoformat(),
        "event_type": "pageview",
        "page_url": "https://chart-test.invalid/",
        "page_url_path": "/",
    }
    return event | {key: "192.0.2.1" if key == "ip_address" else f"test-{mark}" for key in keys}


def _send(pipeline: WebEventPipeline, event: dict[str, Any]) -> None:
    faults: list[Any] = []
    producer = Producer(client_config(pipeline.spec.kafka) | {"message.timeout.ms": 30_000})
    producer.produce(
        pipeline.spec.topics.raw.name,
        json.dumps(event).encode(),
        SEPARATOR.join(event[field] for field in pipeline.spec.sessions.key).encode(),
        on_delivery=lambda error, _: faults.append(error) if error else None,
    )
    left = producer.flush(40)
    if left or faults:
        raise UserError(f"the event was not taken: {faults[0] if faults else 'no answer'}")


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Run the command; a fault that a person can mend is one line and exit code 2."""
    try:
        app()
    except (UserError, KafkaException) as error:
        print(f"webevents: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
