"""What a function, and whoever calls it, may rely on."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from cloud_under_test import ROOT, SHELL_SECRET, Cloud, eventually, unique, zipped

WHO = """
    import os
    calls = 0
    def handler(event, context):
        global calls
        calls += 1
        return {"pid": os.getpid(), "calls": calls}
"""


def test_the_caller_gets_what_the_handler_returns(cloud: Cloud) -> None:
    double = cloud.deploy("def handler(event, context): return {'twice': event['number'] * 2}")

    answer = double({"number": 21})

    assert (answer.payload, answer.error) == ({"twice": 42}, None)


def test_the_context_names_the_function_the_call_and_the_time_left(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        def handler(event, context):
            return [context.function_name, context.invoked_function_arn, context.aws_request_id,
                    context.memory_limit_in_mb, context.get_remaining_time_in_millis()]
        """,
        MemorySize=256,
        Timeout=7,
    )

    name, arn, request_id, memory, left = function().payload

    assert (name, arn, memory) == (function.name, function.arn, "256")
    assert re.fullmatch(r"[0-9a-f-]{36}", request_id)
    assert 5_000 < left <= 7_000


def test_an_exception_comes_back_with_type_message_and_stack(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        class Refused(Exception): pass
        def handler(event, context):
            decide(event)
        def decide(event):
            raise Refused("no " + event)
        """
    )

    answer = function("thanks")

    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Refused"
    assert answer.payload["errorMessage"] == "no thanks"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.payload["requestId"])
    assert ["line 4, in handler" in frame for frame in answer.payload["stackTrace"]] == [
        True,
        False,
    ]
    assert "line 6, in decide" in answer.payload["stackTrace"][1]
    assert "[ERROR] Refused: no thanks" in answer.log


def test_an_exception_that_the_function_handles_is_a_result(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        def handler(event, context):
            try:
                return 1 / event
            except ZeroDivisionError as error:
                return {"handled": str(error)}
        """
    )

    answer = function(0)

    assert (answer.payload, answer.error) == ({"handled": "division by zero"}, None)


def test_after_an_exception_the_same_process_serves_on(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import os
        def handler(event, context):
            if event == "fail":
                raise ValueError(os.getpid())
            return os.getpid()
        """
    )

    failed = function("fail").payload["errorMessage"]

    assert str(function().payload) == failed


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("raise KeyError('TABLE')", "KeyError", "'TABLE'"),
        ("import nowhere", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ("def other(): pass", "Runtime.HandlerNotFound", "Handler 'handler' missing"),
        ("def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'main'"),
    ],
)
def test_a_failed_init_is_told_to_every_caller(
    cloud: Cloud, source: str, kind: str, message: str
) -> None:
    function = cloud.deploy(source)

    for _ in range(2):
        answer = function()
        assert answer.error == "Unhandled"
        assert answer.payload["errorType"] == kind
        assert message in answer.payload["errorMessage"]
        assert f"Status: error\tError Type: {kind}" in answer.log


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("sys.exit(3)", "Runtime exited with error: exit status 3"),
        ("sys.exit()", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_process_that_ends_is_an_error_and_the_next_call_starts_cold(
    cloud: Cloud, statement: str, message: str
) -> None:
    function = cloud.deploy(
        f"""
        import os, sys
        def handler(event, context):
            if event == "end":
                {statement}
            return os.getpid()
        """
    )
    before = function().payload

    answer = function("end")

    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert re.fullmatch(
        rf"RequestId: [0-9a-f-]{{36}} Error: {message}", answer.payload["errorMessage"]
    )
    assert "Status: error\tError Type: Runtime.ExitError" in answer.log
    assert function().payload != before


def test_a_call_that_takes_too_long_is_killed_and_the_next_starts_cold(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import os, time
        def handler(event, context):
            if event == "hang":
                print("about to hang", flush=True)
                time.sleep(60)
            return os.getpid()
        """,
        Timeout=1,
    )
    process = psutil.Process(function().payload)

    answer = function("hang")

    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    assert re.fullmatch(
        r"RequestId: [0-9a-f-]{36} Error: Task timed out after 1.00 seconds",
        answer.payload["errorMessage"],
    )
    assert "about to hang" in answer.log
    assert re.search(r"REPORT .*\tStatus: timeout", answer.log)
    assert not process.is_running()
    again = function()
    assert again.payload != process.pid
    assert "Init Duration" in again.log


def test_calls_at_the_same_time_have_environments_of_their_own(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import os, time
        def handler(event, context):
            time.sleep(1.5)
            return [os.getpid(), os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], os.environ["TMPDIR"]]
        """
    )

    with ThreadPoolExecutor(3) as callers:
        seen = [answer.payload for answer in callers.map(function, range(3))]

    for values in zip(*seen, strict=True):
        assert len(set(values)) == 3


def test_a_warm_environment_is_used_again(cloud: Cloud) -> None:
    function = cloud.deploy(WHO)

    first, second = function(), function()

    assert first.payload["pid"] == second.payload["pid"]
    assert (first.payload["calls"], second.payload["calls"]) == (1, 2)
    assert "Init Duration" in first.log
    assert "Init Duration" not in second.log


def test_new_code_is_what_the_next_call_runs(cloud: Cloud) -> None:
    function = cloud.deploy("def handler(event, context): return 'old'")
    assert function().payload == "old"

    client = cloud.client("lambda")
    new = zipped({"main.py": "def handler(event, context): return 'new'"})
    client.update_function_code(FunctionName=function.name, ZipFile=new)

    eventually(lambda: function().payload == "new", "an answer of the new code")


def test_a_function_sees_its_own_variables_and_none_of_the_shells(cloud: Cloud) -> None:
    function = cloud.deploy(
        "import os\ndef handler(event, context): return dict(os.environ)",
        Environment={"Variables": {"TABLE": "sales", "EMPTY": ""}},
    )

    seen = function().payload

    assert (seen["TABLE"], seen["EMPTY"]) == ("sales", "")
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == function.name
    assert seen["AWS_REGION"] == "us-east-1"
    assert SHELL_SECRET not in seen
    assert not [name for name in seen if name.startswith(("LOCALSTACK", "ORDERFLOW"))]


def test_boto3_in_a_function_reaches_this_cloud_without_being_told(cloud: Cloud) -> None:
    bucket = unique("bucket")
    function = cloud.deploy(
        f"""
        import boto3
        def handler(event, context):
            boto3.client("s3").create_bucket(Bucket="{bucket}")
        """
    )

    assert function().error is None

    assert bucket in [b["Name"] for b in cloud.client("s3").list_buckets()["Buckets"]]


def test_layers_are_importable_and_a_later_one_wins(cloud: Cloud) -> None:
    def layer(text: str) -> str:
        content = {"ZipFile": zipped({"python/greeting.py": f"WORD = '{text}'"})}
        name = unique("layer")
        published = cloud.client("lambda").publish_layer_version(LayerName=name, Content=content)
        return str(published["LayerVersionArn"])

    function = cloud.deploy(
        "import greeting\ndef handler(event, context): return greeting.WORD",
        Layers=[layer("hello"), layer("good day")],
    )

    assert function().payload == "good day"


def test_a_response_over_the_limit_is_refused_and_one_below_is_not(cloud: Cloud) -> None:
    function = cloud.deploy("def handler(event, context): return 'x' * event")

    fits = function(6 * 1024 * 1024)
    too_large = function(6 * 1024 * 1024 + 200)

    assert len(fits.payload) == 6 * 1024 * 1024
    assert too_large.error == "Unhandled"
    assert too_large.payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert (
        "exceeded maximum allowed payload size (6291556 bytes)"
        in (too_large.payload["errorMessage"])
    )


def test_a_function_that_is_deleted_is_told_so_first(cloud: Cloud, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    function = cloud.deploy(
        f"""
        import os, pathlib, signal, sys
        def farewell(number, frame):
            pathlib.Path({str(mark)!r}).write_text(signal.Signals(number).name)
            sys.exit()
        signal.signal(signal.SIGTERM, farewell)
        def handler(event, context): return os.getpid()
        """
    )
    process = psutil.Process(function().payload)

    cloud.client("lambda").delete_function(FunctionName=function.name)

    eventually(mark.exists, "a farewell")
    eventually(lambda: not process.is_running(), "an end of the process")
    assert mark.read_text() == "SIGTERM"


def test_cloudwatch_has_what_was_printed_between_start_and_report(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import logging, sys
        def handler(event, context):
            print("printed")
            print("complained", file=sys.stderr)
            logging.getLogger().warning("logged")
        """
    )
    function()

    def lines() -> list[str]:
        logs = cloud.client("logs")
        group = f"/aws/lambda/{function.name}"
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return []
        events = logs.filter_log_events(logGroupName=group)["events"]
        messages = [event["message"].rstrip() for event in events]
        return messages if any("REPORT" in message for message in messages) else []

    seen = eventually(lines, "a REPORT line")

    shapes = [
        r"INIT_START Runtime Version: python3\.13",
        r"START RequestId: [0-9a-f-]{36} Version: \$LATEST",
        r"printed",
        r"complained",
        r"\[WARNING\].*logged",
        r"END RequestId: [0-9a-f-]{36}",
        (
            r"REPORT RequestId: [0-9a-f-]{36}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\t"
            r"Memory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms"
        ),
    ]
    assert len(seen) == len(shapes)
    for line, shape in zip(seen, shapes, strict=True):
        assert re.fullmatch(shape, line), (line, shape)


def test_the_code_folder_is_read_only_and_gets_no_bytecode(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import os, pathlib, tempfile
        import part
        TASK = pathlib.Path(os.environ["LAMBDA_TASK_ROOT"])
        def attempt(act):
            try:
                act()
            except OSError as error:
                return type(error).__name__
            return "done"
        def handler(event, context):
            return {
                "new": attempt(lambda: (TASK / "new").write_text("")),
                "change": attempt(lambda: (TASK / "main.py").write_text("")),
                "delete": attempt(lambda: (TASK / "part.py").unlink()),
                "scratch": attempt(lambda: tempfile.TemporaryFile().close()),
                "files": sorted(str(p.relative_to(TASK)) for p in TASK.rglob("*")),
            }
        """,
        files={"part.py": ""},
    )

    assert function().payload == {
        "new": "PermissionError",
        "change": "PermissionError",
        "delete": "PermissionError",
        "scratch": "done",
        "files": ["main.py", "part.py"],
    }


def test_the_interpreter_sees_what_lambdas_has_and_nothing_of_localstacks(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import importlib.metadata, importlib.util
        def handler(event, context):
            return {
                "packages": [d.metadata["Name"] for d in importlib.metadata.distributions()],
                "found": [m for m in event if importlib.util.find_spec(m)],
            }
        """
    )
    modules = ["boto3", "botocore", "awslambdaric", "main"]
    foreign = ["localstack", "localcloud", "moto", "psutil", "pydantic", "pip", "sqlalchemy"]

    seen = function([*modules, *foreign]).payload

    assert seen["found"] == modules
    lock = (ROOT / "localcloud" / "runtime.lock").read_text()
    locked = re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)
    assert {_plain(name) for name in seen["packages"]} <= {_plain(name) for name in locked}


def test_what_a_function_starts_ends_with_it(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import subprocess
        def handler(event, context):
            return subprocess.Popen(["sleep", "600"]).pid
        """
    )
    child = psutil.Process(function().payload)

    cloud.client("lambda").delete_function(FunctionName=function.name)

    eventually(_ended(child), "an end of the child")


def _ended(process: psutil.Process) -> Callable[[], bool]:
    return lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
