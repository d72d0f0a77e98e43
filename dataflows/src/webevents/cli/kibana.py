"""``webevents kibana``: the saved objects of a pipeline, written out or loaded."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from webevents.cli import connections as c
from webevents.errors import UserError
from webevents.spec.kibana import KibanaSpec
from webevents.spec.load import load_pipeline
from webevents.spec.pipeline import WebEventPipeline

kibana = typer.Typer(help="Data views and dashboards for Kibana.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(kibana, name="kibana")


Space = Annotated[str | None, typer.Option(help="The space; the one of the pipeline when absent.")]


@kibana.command()
def export(
    file: c.PipelineFile,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there, not to the screen."),
    ] = None,
    space: Space = None,
) -> None:
    """Write a pipeline's saved objects as NDJSON, as Kibana imports them."""
    from webevents.kibana.objects import ndjson

    text = ndjson(_objects(_in_space(load_pipeline(file), {"space": space})))
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None


@kibana.command(name="import")
def load(
    file: c.PipelineFile,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Kibana; spec.kibana.url when absent.")
    ] = None,
    space: Space = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Basic authentication; KIBANA_PASSWORD without a file."),
    ] = None,
    password_file: Annotated[str | None, typer.Option(metavar="FILE", help="Its password.")] = None,
    api_key_file: Annotated[str | None, typer.Option(metavar="FILE", help="An API key.")] = None,
    ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="CA of Kibana's certificate.")
    ] = None,
) -> None:
    """Load a pipeline's data views and dashboards into Kibana; what is there as wanted stays."""
    from webevents.connectors.kibana import bring_dashboards
    from webevents.kibana.objects import space_of

    given: dict[str, Any] = {"url": url, "space": space}
    if user or api_key_file:
        # Another way to log in takes the place of the file's.
        given |= {
            "username": user,
            "password_file": password_file,
            "password_env": "KIBANA_PASSWORD" if user and not password_file else None,
            "api_key_file": api_key_file,
            "api_key_env": None,
        }
    elif password_file:
        raise UserError("--password-file goes with --user NAME")
    if ca:
        given["tls"] = {"ca_file": ca}
    pipeline = _in_space(load_pipeline(file), given)
    target = space_of(pipeline)
    done = bring_dashboards(pipeline.spec.kibana, target, pipeline.name, _objects(pipeline))
    console = Console(highlight=False, soft_wrap=True)
    for line in done or [f"Everything is in Kibana's space {target} already."]:
        console.print(line[:1].upper() + line[1:], markup=False)


def _in_space(pipeline: WebEventPipeline, given: dict[str, Any]) -> WebEventPipeline:
    """The pipeline with what options say of its Kibana."""
    values = pipeline.spec.kibana.model_dump(exclude_unset=True)
    # Without these options, what the file says stays.
    values |= {
        name: value
        for name, value in given.items()
        if value is not None or name not in ("url", "space")
    }
    try:
        made = KibanaSpec.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise UserError(f"Kibana's options: {faults}") from None
    spec = pipeline.spec.model_copy(update={"kibana": made})
    return pipeline.model_copy(update={"spec": spec})


def _objects(pipeline: WebEventPipeline) -> list[dict[str, Any]]:
    from webevents.kibana.objects import saved_objects

    if pipeline.spec.elasticsearch.engine == "opensearch":
        raise UserError(
            "the pipeline writes to OpenSearch, which Kibana cannot read: set "
            "spec.elasticsearch.engine to elasticsearch"
        )
    objects = saved_objects(pipeline)
    if not objects:
        raise UserError(
            "the pipeline writes nothing to Elasticsearch that Kibana could show: set "
            "spec.index.enabled to true"
        )
    return objects
