"""Starting, stopping, crashing: no state of the machine keeps the cloud from coming up."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
from cloud_under_test import Cloud, Function, eventually

KEEPS_A_CHILD = """
    import os, subprocess
    def handler(event, context):
        return [os.getpid(), subprocess.Popen(["sleep", "600"]).pid]
"""


def test_up_again_leaves_what_runs_alone(cloud: Cloud) -> None:
    before = [cloud.localstack().pid, cloud.postgres().pid]

    said = cloud.up()

    assert said.splitlines() == ["LocalStack runs already", "Postgres runs already"]
    assert [cloud.localstack().pid, cloud.postgres().pid] == before
    assert cloud.command("status").returncode == 0


def test_everything_listens_on_loopback_only(cloud: Cloud) -> None:
    cloud.deploy("def handler(event, context): pass")()

    listening = {
        connection.laddr
        for process in cloud.family()
        for connection in process.net_connections(kind="inet")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }

    assert {address.port for address in listening} > {cloud.port, cloud.postgres_port}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_no_service_reaches_the_database_of_another(cloud: Cloud) -> None:
    server = f"127.0.0.1:{cloud.postgres_port}"
    for role, other in (("orders", "inventory"), ("inventory", "orders")):
        with psycopg.connect(f"postgresql://{role}@{server}/{role}") as own:
            own.execute("CREATE TEMPORARY TABLE may_write (it int)")
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(f"postgresql://{role}@{server}/{other}")


@pytest.mark.parametrize("setting", ["ORDERFLOW_PORT", "ORDERFLOW_POSTGRES_PORT"])
def test_a_port_that_is_taken_is_named_with_its_holder(setting: str, tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "cloud")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]

        done = cloud.command("up", **{setting: port})

    assert done.returncode == 1
    assert f"port {port} is taken by process {os.getpid()} (" in done.stderr
    assert f"choose another port with {setting}" in done.stderr
    assert "Traceback" not in done.stderr
    assert cloud.command("status").stdout.count("does not run") == 2


def test_down_leaves_nothing_running(own_cloud: Cloud) -> None:
    _call(own_cloud.deploy(KEEPS_A_CHILD))
    family = own_cloud.family()
    assert len(family) > 4

    own_cloud.down()

    assert _alive(family) == []
    assert own_cloud.command("status").returncode == 3
    assert own_cloud.down().splitlines() == [
        "LocalStack was not running",
        "Postgres was not running",
    ]


def test_a_crash_leaves_no_function_running_and_up_works_again(own_cloud: Cloud) -> None:
    function, child = _call(own_cloud.deploy(KEEPS_A_CHILD))
    localstack, postgres = own_cloud.localstack(), own_cloud.postgres()
    orphans = [*localstack.children(recursive=True), *postgres.children(recursive=True)]
    assert {function, child} <= set(orphans)

    localstack.kill()
    postgres.kill()

    eventually(lambda: not _alive(orphans), "an end of the orphans")
    assert own_cloud.command("status").returncode == 3
    # The crash left Postgres's pid file, and by now its number belongs to another process that
    # Postgres may signal (one that it may not, it takes for none of its own).
    stale = own_cloud.state / "postgres" / "postmaster.pid"
    lines = stale.read_text().splitlines()
    user = stale.stat().st_uid
    with subprocess.Popen(["sleep", "600"], user=user if user != os.getuid() else None) as other:
        stale.write_text("\n".join([str(other.pid), *lines[1:]]))
        try:
            own_cloud.up()
        finally:
            other.kill()
    assert own_cloud.deploy("def handler(event, context): return 1")().payload == 1
    with psycopg.connect(f"postgresql://orders@127.0.0.1:{own_cloud.postgres_port}/orders"):
        pass


def test_a_nursery_that_is_killed_takes_its_functions_along_and_is_replaced(
    own_cloud: Cloud,
) -> None:
    deployed = own_cloud.deploy(KEEPS_A_CHILD)
    function, child = _call(deployed)
    nursery = function.parent()
    assert nursery is not None
    assert nursery.parent() == own_cloud.localstack()

    nursery.kill()

    eventually(lambda: not _alive([function, child]), "an end of the function")
    replaced = eventually(lambda: _try(deployed), "an answer of a new process")
    assert replaced[0] != function.pid


def test_settings_that_make_no_sense_are_named() -> None:
    cloud = Cloud(Path("/nonexistent"))

    done = cloud.command("status", ORDERFLOW_PORT="http")

    assert done.returncode == 1
    assert done.stderr == "localcloud: ORDERFLOW_PORT=http is not a port\n"


def test_a_missing_interpreter_is_named_and_nothing_stays_running(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "cloud")

    done = cloud.command("up", ORDERFLOW_RUNTIME_PYTHON=tmp_path / "none")

    assert done.returncode == 1
    assert f"interpreter {tmp_path / 'none'} is missing" in done.stderr
    assert cloud.command("status").stdout.count("does not run") == 2


def test_the_shell_lines_point_at_this_cloud(cloud: Cloud) -> None:
    lines = cloud.command("env").stdout

    assert f"export AWS_ENDPOINT_URL=http://127.0.0.1:{cloud.port}\n" in lines
    assert f"export ORDERFLOW_POSTGRES=127.0.0.1:{cloud.postgres_port}\n" in lines


def _call(function: Function) -> tuple[psutil.Process, psutil.Process]:
    one, other = function().payload
    return psutil.Process(one), psutil.Process(other)


def _try(function: Function) -> list[int] | None:
    answer = function()
    return None if answer.error else list(answer.payload)


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
