"""The logins on AWS are those of the local cloud: the owner owns, the auditor only reads.

Against a real Postgres, as a master user who is no superuser; only the Data API's door is ours.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from operations.adapters.databases import SESSION
from tests.support.postgres import server
from tools.database_roles import AUDITOR_SESSION, make


@dataclass
class Cluster:
    """An Aurora cluster with a database that its master owns, and the Data API in front of it."""

    name: str
    transaction: psycopg.Connection[Any] | None = None
    ended: str = ""

    def connect(self, user: str, *, autocommit: bool = False) -> psycopg.Connection[Any]:
        return psycopg.connect(f"postgresql://{user}@{server()}/{self.name}", autocommit=autocommit)

    def describe_db_clusters(self, *, DBClusterIdentifier: str) -> Any:  # noqa: N803 - boto3's
        assert DBClusterIdentifier == f"dev-orderflow-{self.name}"
        return {
            "DBClusters": [
                {"DBClusterArn": "arn:cluster", "MasterUserSecret": {"SecretArn": "arn:secret"}}
            ]
        }

    def begin_transaction(self, **where: str) -> Any:
        assert where == {
            "resourceArn": "arn:cluster",
            "secretArn": "arn:secret",
            "database": self.name,
        }
        self.transaction = self.connect(f"{self.name}_master")
        return {"transactionId": "t"}

    def execute_statement(self, *, sql: str, **where: str) -> Any:
        assert self.transaction
        assert where["transactionId"] == "t"
        self.transaction.execute(sql.encode())
        return {}

    def commit_transaction(self, **_: str) -> None:
        assert self.transaction
        self.transaction.commit()
        self.transaction.close()

    def rollback_transaction(self, **_: str) -> None:
        assert self.transaction
        self.transaction.close()
        self.ended = "rolled back"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    name = f"shop_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"postgresql://postgres@{server()}/postgres", autocommit=True) as admin:
        # As RDS gives it to a master user.
        admin.execute(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam')"
            " THEN CREATE ROLE rds_iam; END IF; END $$"
        )
        admin.execute(f"CREATE ROLE {name}_master LOGIN CREATEROLE CREATEDB".encode())
        admin.execute(
            f"GRANT rds_iam, pg_read_all_data TO {name}_master WITH ADMIN OPTION".encode()
        )
        admin.execute(f"CREATE DATABASE {name} OWNER {name}_master".encode())
        yield Cluster(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        for role in (name, f"{name}_auditor", f"{name}_master"):
            admin.execute(f"DROP ROLE IF EXISTS {role}".encode())


def prepare(cluster: Cluster) -> None:
    make(cluster, cluster, service=cluster.name, stage="dev", auditor=f"{cluster.name}_auditor")


def test_the_owner_may_do_all_that_migrations_do_and_the_auditor_may_only_read(
    cluster: Cluster,
) -> None:
    prepare(cluster)
    with cluster.connect(cluster.name) as owner:
        owner.execute("CREATE SCHEMA sandbox")
        owner.execute("CREATE TABLE orders (id int)")
        owner.execute("INSERT INTO orders VALUES (7)")
        owner.execute(
            f"ALTER ROLE CURRENT_USER IN DATABASE {cluster.name} SET timezone TO 'UTC'".encode()
        )
    with cluster.connect(f"{cluster.name}_auditor") as auditor:
        assert auditor.execute("SELECT id FROM orders").fetchall() == [(7,)]
        auditor.execute("CREATE TEMPORARY TABLE seen (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auditor.execute("INSERT INTO orders VALUES (8)")


def test_both_log_in_with_tokens_and_nobody_else_may_connect(cluster: Cluster) -> None:
    prepare(cluster)
    with cluster.connect(f"{cluster.name}_auditor") as auditor:
        tokens = auditor.execute(
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
            " JOIN pg_roles u ON u.oid = m.member WHERE r.rolname = 'rds_iam'"
            " AND u.rolname IN (%s, %s)",
            (cluster.name, f"{cluster.name}_auditor"),
        ).fetchone()
        assert tokens == (2,)
        public = auditor.execute(
            "SELECT count(*) FROM pg_database, aclexplode(datacl) a"
            " WHERE datname = current_database() AND a.grantee = 0"
        ).fetchone()
        assert public == (0,)


def test_the_auditor_begins_each_session_with_the_timeouts_of_operations(cluster: Cluster) -> None:
    assert {name: str(value) for name, value in SESSION.items()} == AUDITOR_SESSION
    prepare(cluster)
    with cluster.connect(f"{cluster.name}_auditor") as auditor:
        assert auditor.execute("SHOW statement_timeout").fetchone() == ("4min",)
        assert auditor.execute("SHOW lock_timeout").fetchone() == ("5s",)


def test_the_master_stays_out_of_rds_iam_and_can_log_in_with_its_password(
    cluster: Cluster,
) -> None:
    prepare(cluster)
    # RDS refuses its password to any member of a member.
    with cluster.connect(f"{cluster.name}_master") as master:
        held = master.execute(
            "SELECT pg_has_role(%s, 'USAGE'), pg_has_role(%s, 'SET')", (cluster.name,) * 2
        ).fetchone()
        assert held == (False, False)


def test_the_master_can_mend_a_row_and_leave_again(cluster: Cluster) -> None:
    """docs/runbooks/undelivered.md says how."""
    prepare(cluster)
    with cluster.connect(cluster.name) as owner:
        owner.execute("CREATE TABLE outbox (published_at text)")
        owner.execute("INSERT INTO outbox VALUES ('yesterday')")
    with cluster.connect(f"{cluster.name}_master") as master:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), master.transaction():
            master.execute("UPDATE outbox SET published_at = NULL")
        master.execute(f"GRANT {cluster.name} TO CURRENT_USER".encode())
        master.execute("UPDATE outbox SET published_at = NULL")
        master.execute(f"REVOKE {cluster.name} FROM CURRENT_USER".encode())
    with cluster.connect(cluster.name) as owner:
        assert owner.execute("SELECT published_at FROM outbox").fetchall() == [(None,)]


def test_every_deploy_may_make_them_again(cluster: Cluster) -> None:
    prepare(cluster)
    with cluster.connect(cluster.name) as owner:
        owner.execute("CREATE TABLE orders (id int)")
    prepare(cluster)
    with cluster.connect(f"{cluster.name}_auditor") as auditor:
        assert auditor.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_what_fails_half_way_leaves_nothing(cluster: Cluster) -> None:
    with cluster.connect("postgres") as admin:
        admin.execute(f"REVOKE pg_read_all_data FROM {cluster.name}_master".encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        prepare(cluster)
    assert cluster.ended == "rolled back"
    with cluster.connect("postgres") as admin:
        found = admin.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = %s", (cluster.name,)
        ).fetchone()
    assert found == (0,)
