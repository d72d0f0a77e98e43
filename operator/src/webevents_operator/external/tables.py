"""Tables and views in PostgreSQL."""

import psycopg
from psycopg import sql

from webevents.connectors.postgres import connect, ensure_tables, explained
from webevents.errors import UserError
from webevents.logic.rows.tables import tables_of, with_companions
from webevents.spec.postgres import PostgresSpec, StoreSpec
from webevents_operator.outcome import NOT_NEEDED, Outcome
from webevents_operator.status import Reason


def bring_tables(postgres: PostgresSpec, store: StoreSpec) -> Outcome:
    """Bring the store stage's tables and views about.

    :param postgres: with secrets in files that are there.
    """
    if not store.enabled:
        return NOT_NEEDED
    try:
        with explained(postgres), connect(postgres, "webevents-operator") as connection:
            done = ensure_tables(connection, tables_of(store), store.schema_name, views=store.views)
    except (UserError, psycopg.Error) as error:
        return Outcome(False, Reason.POSTGRES_UNAVAILABLE, str(error))
    message = f"The tables are there: {', '.join(store.tables)}."
    return Outcome(True, Reason.AS_WANTED, message, tuple(done))


def drop_tables(postgres: PostgresSpec, store: StoreSpec) -> Outcome:
    """Remove the tables with their data, and the views over them."""
    try:
        with explained(postgres), connect(postgres, "webevents-operator") as connection:
            for table in with_companions(tables_of(store)):
                connection.execute(
                    sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(
                        sql.Identifier(store.schema_name, table.name)
                    )
                )
    except (UserError, psycopg.Error) as error:
        return Outcome(False, Reason.POSTGRES_UNAVAILABLE, str(error))
    return Outcome(True, Reason.AS_WANTED, "Removed the tables.")
