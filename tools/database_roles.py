"""Makes the logins of a service's database on AWS, after each deploy and before its migrations.

Called by `sls deploy` (`custom.afterDeploy`), or by hand: `python -m tools.database_roles --service
orders --stage dev`. It speaks as the master user, through RDS's Data API: from anywhere, with the
deployer's own rights, and without seeing the password, which stays in Secrets Manager. The local
cloud makes the same logins when it starts.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

AUDITOR = "auditor"
# Of the auditor's sessions, as services/operations/operations/adapters/databases.py has them; a
# test holds that they agree. Those of the service's own role are set by its migrations.
AUDITOR_SESSION = {
    "statement_timeout": "240000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "300000",
    "timezone": "UTC",
}


def statements(service: str, *, auditor: str = AUDITOR) -> list[str]:
    """Return what makes the logins of a service's database; each is safe twice."""
    logins = [
        statement
        for role in (service, auditor)
        for statement in (
            f"""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')
            THEN CREATE ROLE {role} LOGIN; END IF; END $$""",
            # From then on this role can log in with IAM's tokens, and with nothing else.
            f"GRANT rds_iam TO {role}",
        )
    ]
    return [
        *logins,
        # Only who is in a role may give it something. The master leaves it in the end: whoever is
        # in `rds_iam`, through another role too, cannot log in with a password, as this does.
        f"GRANT {service} TO CURRENT_USER",
        f"ALTER DATABASE {service} OWNER TO {service}",
        f"REVOKE ALL ON DATABASE {service} FROM PUBLIC",
        f"GRANT pg_read_all_data TO {auditor}",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {service} TO {auditor}",
        *(
            f"ALTER ROLE {auditor} IN DATABASE {service} SET {name} TO '{value}'"
            for name, value in AUDITOR_SESSION.items()
        ),
        # Everybody's right to connect is gone.
        f"GRANT CONNECT ON DATABASE {service} TO CURRENT_USER",
        f"REVOKE {service} FROM CURRENT_USER",
    ]


def make(rds: Any, data: Any, *, service: str, stage: str, auditor: str = AUDITOR) -> None:
    """Make the logins of one service's database in one transaction."""
    (cluster,) = rds.describe_db_clusters(DBClusterIdentifier=f"{stage}-orderflow-{service}")[
        "DBClusters"
    ]
    where = {
        "resourceArn": cluster["DBClusterArn"],
        "secretArn": cluster["MasterUserSecret"]["SecretArn"],
    }
    transaction = data.begin_transaction(**where, database=service)["transactionId"]
    try:
        for statement in statements(service, auditor=auditor):
            data.execute_statement(
                **where, database=service, transactionId=transaction, sql=statement
            )
    except BaseException:
        data.rollback_transaction(**where, transactionId=transaction)
        raise
    data.commit_transaction(**where, transactionId=transaction)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="database_roles", description=__doc__)
    parser.add_argument("--service", required=True, choices=("orders", "inventory"))
    parser.add_argument("--stage", required=True)
    options = parser.parse_args(arguments)
    config = Config(connect_timeout=3, read_timeout=30, retries={"mode": "standard"})
    try:
        make(
            boto3.client("rds", config=config),
            boto3.client("rds-data", config=config),
            service=options.service,
            stage=options.stage,
        )
    except (BotoCoreError, ClientError) as error:
        print(f"database_roles: {options.service}: {error}", file=sys.stderr)
        return 1
    print(f"{options.service}: the logins {options.service} and {AUDITOR} are there")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
