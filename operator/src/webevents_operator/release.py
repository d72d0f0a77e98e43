"""What the chart's jobs do: apply the release's pipeline, delete it, and send an event through it.

Run as ``python -m webevents_operator.release``.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
import yaml
from confluent_kafka import KafkaException

from webevents.errors import UserError
from webevents.spec.kafka import TOOLS
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
from webevents_operator.sinks import follow

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
def remove(
    name: str,
    namespace: Namespace,
    seconds: Seconds = 120,
    pod: Annotated[str | None, typer.Option(help="A pod to delete too.")] = None,
) -> None:
    """Delete a pipeline, and the pod that `helm test` has left, and wait until it is gone."""
    asyncio.run(_remove(namespace, name, seconds, pod))
    _say(f"removed {kinds.PIPELINE.kind} {namespace}/{name}")


@app.command()
def check(name: str, config: Path, namespace: Namespace, seconds: Seconds = 180) -> None:
    """Send one event through a pipeline and find it where it ends."""
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        pipeline = asyncio.run(_resolve(Key(namespace, name), config, Path(folder), deadline))
        follow(pipeline, deadline, _say)


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


async def _remove(namespace: str, name: str, seconds: float, pod: str | None) -> None:
    cluster, deadline = Cluster(), time.monotonic() + seconds
    try:
        while True:
            try:
                if pod is not None:
                    await cluster.delete(Ref(kinds.POD.kind, namespace, pod))
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
        pipeline = pipeline.logged_in_as(TOOLS)
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
