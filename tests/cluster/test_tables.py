"""Tables on a real PostgreSQL: made, put right, dropped as the policy says; and its log-in."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from kube import Kube, OperatorProcess, eventually
from psycopg import sql
from shop import Shop

from webevents.connectors.postgres import connect
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.spec.postgres import PostgresSpec
from webevents_operator import kinds, names

StartOperator = Callable[..., OperatorProcess]
_SCHEMA, _USER, _WORD = "shop_tables", "store_writer", "first-word"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresSpec]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "home").start()
    yield server.spec
    server.stop()


@pytest.fixture
def database(postgres: PostgresSpec) -> Iterator[psycopg.Connection[Any]]:
    """The database as its administrator; the operator's user has a schema of its own there."""
    with connect(postgres, "test") as connection:
        connection.autocommit = True
        user, schema = sql.Identifier(_USER), sql.Identifier(_SCHEMA)
        for statement in (
            sql.SQL("DROP SCHEMA IF EXISTS {schema} CASCADE"),
            sql.SQL("DROP ROLE IF EXISTS {user}"),
            sql.SQL("CREATE ROLE {user} LOGIN PASSWORD {word}"),
            sql.SQL("CREATE SCHEMA {schema} AUTHORIZATION {user}"),
        ):
            wanted = statement.format(user=user, schema=schema, word=sql.Literal(_WORD))
            connection.execute(wanted)
        yield connection


@pytest.fixture
def stored(shop: Shop, postgres: PostgresSpec) -> Shop:
    """A pipeline that stores, with its password in a Secret that is not there yet."""
    shop.spec["store"] = {"enabled": True, "schemaName": _SCHEMA}
    shop.spec["postgres"] = {
        "host": postgres.host,
        "port": postgres.port,
        "database": postgres.database,
        "username": _USER,
        "passwordFile": "secret:shop-db/password",
    }
    return shop


def _secret(kube: Kube, namespace: str, word: str) -> None:
    kube.apply(kinds.SECRET.of("shop-db", namespace, stringData={"password": word}))


def _tables(database: psycopg.Connection[Any]) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
    return {name for (name,) in database.execute(query, [_SCHEMA])}


def test_tables_come_back_and_stay(
    kube: Kube, stored: Shop, start_operator: StartOperator, database: psycopg.Connection[Any]
) -> None:
    operator = start_operator()
    _secret(kube, stored.namespace, _WORD)
    stored.create()
    stored.wait("TablesReady")
    made = _tables(database)
    assert "session_metrics" in made
    with operator.within(60):
        drop = sql.SQL("DROP TABLE {} CASCADE")
        database.execute(drop.format(sql.Identifier(_SCHEMA, "session_metrics")))
        eventually(lambda: _tables(database), lambda there: there == made)
    kube.delete(kinds.PIPELINE, stored.namespace, "shop")
    eventually(lambda: kube.get(kinds.PIPELINE, stored.namespace, "shop") is None)
    operator.passes(1)
    assert _tables(database) == made


def test_tables_go_where_the_policy_says_so(
    kube: Kube, stored: Shop, start_operator: StartOperator, database: psycopg.Connection[Any]
) -> None:
    start_operator()
    _secret(kube, stored.namespace, _WORD)
    stored.create(deletionPolicy={"tables": "Delete"})
    stored.wait("TablesReady")
    assert stored.resource()["metadata"]["finalizers"] == [names.FINALIZER]
    other = sql.Identifier(_SCHEMA, "somebody_elses")
    database.execute(sql.SQL("CREATE TABLE {} (a int)").format(other))
    kube.delete(kinds.PIPELINE, stored.namespace, "shop")
    eventually(lambda: kube.get(kinds.PIPELINE, stored.namespace, "shop") is None)
    assert _tables(database) == {"somebody_elses"}


def test_credentials_that_expire_and_are_renewed(
    kube: Kube, stored: Shop, start_operator: StartOperator, database: psycopg.Connection[Any]
) -> None:
    operator = start_operator()
    _secret(kube, stored.namespace, "not-the-word")
    stored.create()
    told = stored.wait("TablesReady", "False", "PostgresUnavailable")
    assert _USER in told["message"]
    # The store waits for its tables; the others do not.
    eventually(lambda: len(kube.list(kinds.STATEFUL_SET, stored.namespace)), lambda n: n == 3)
    assert kube.get(kinds.STATEFUL_SET, stored.namespace, "shop-store") is None
    with operator.within(60):
        _secret(kube, stored.namespace, _WORD)
        stored.wait("TablesReady")
    store = eventually(lambda: kube.get(kinds.STATEFUL_SET, stored.namespace, "shop-store"))
    assert store
    before = store["spec"]["template"]["metadata"]["annotations"][names.SECRETS]

    # Expired while it runs: told; what runs is left as it is.
    word = sql.Literal("second-word")
    database.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(_USER), word))
    stored.wait("TablesReady", "False", "PostgresUnavailable")
    assert (
        stored.child(kinds.STATEFUL_SET, "store")["spec"]["template"] == (store["spec"]["template"])
    )
    with operator.within(60):
        _secret(kube, stored.namespace, "second-word")
        stored.wait("TablesReady")
        eventually(
            lambda: stored.child(kinds.STATEFUL_SET, "store")["spec"]["template"]["metadata"],
            lambda metadata: metadata["annotations"][names.SECRETS] != before,
        )
    assert operator.process and operator.process.poll() is None
    log = operator.log.read_text()
    assert not any(word in log for word in ("not-the-word", _WORD, "second-word"))
