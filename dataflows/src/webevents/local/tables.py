"""The tables of a pipeline that runs here: made before it starts, counted at its end."""

from webevents.connectors.postgres import connect, count_rows, ensure_tables, explained
from webevents.logic.rows.tables import tables_of
from webevents.spec.pipeline import WebEventPipeline


def make_tables(pipeline: WebEventPipeline) -> list[str]:
    """Make what is missing of the pipeline's tables and views.

    :returns: a line for each thing that was made.
    :raises UserError: when the database does not answer or refuses, with the mend.
    """
    store, postgres = pipeline.spec.store, pipeline.spec.postgres
    with explained(postgres), connect(postgres) as connection:
        return ensure_tables(connection, tables_of(store), store.schema_name, views=store.views)


def count_tables(pipeline: WebEventPipeline) -> dict[str, int]:
    """Rows of the pipeline's tables, by their names with the schema.

    :raises UserError: when the database does not answer or refuses, with the mend.
    """
    store, postgres = pipeline.spec.store, pipeline.spec.postgres
    names = [table.name for table in tables_of(store)]
    with explained(postgres), connect(postgres) as connection:
        counts = count_rows(connection, store.schema_name, names)
    return {f"{store.schema_name}.{name}": rows for name, rows in counts.items()}
