"""Where LocalStack meets the faults: the API of the rules, the AWS calls and the pollers.

See "Faults on purpose" in the README. Without a rule, all of this is one look at an empty
dictionary for each AWS call and each batch.
"""

import functools
import ipaddress
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, UnknownServiceError
from botocore.model import OperationNotFoundError
from localstack.aws import handlers
from localstack.aws.api import CommonServiceException
from localstack.aws.spec import load_service
from localstack.runtime.hooks import on_infra_shutdown, on_infra_start
from localstack.services.edge import ROUTER
from localstack.services.lambda_.event_source_mapping.pollers.sqs_poller import SqsPoller
from rolo import Request, Response
from rolo.gateway import HandlerChain
from rolo.serving import twisted as server
from twisted.internet import reactor

from localcloud.plugin.faults import FAULTS, LONGEST_SECONDS, WAITS, BadRule, Fault, Rule

LOG = logging.getLogger(__name__)

API = "/_orderflow"
CONNECTION = "localcloud.connection"
CALLER = re.compile(r"\bapp/([0-9a-f]+)")


@on_infra_start()  # type: ignore[untyped-decorator]
def faults_on_purpose() -> None:
    """Called by LocalStack once, before it starts its services."""
    _serve_the_api()
    _remember_connections()
    handlers.serve_custom_service_request_handlers.append(meet_aws_call)
    _set_messages_apart()


@on_infra_shutdown()  # type: ignore[untyped-decorator]
def let_everything_go() -> None:
    """Called by LocalStack as it ends: it waits for what is held otherwise."""
    FAULTS.clear()


# The API


def _serve_the_api() -> None:
    def route(method: str, path: str, answer: Callable[..., Response]) -> None:
        ROUTER.add(API + path, _guarded(answer), methods=[method])

    route("POST", "/faults", _add)
    route("GET", "/faults", lambda _: _json({"faults": FAULTS.describe()}))
    route("DELETE", "/faults", _clear)
    route("DELETE", "/faults/<fault_id>", lambda _, fault_id: _found(known=FAULTS.remove(fault_id)))
    route("POST", "/faults/<fault_id>/release", _release)
    route("GET", "/environments", _environments)
    route("POST", "/environments/<environment_id>/kill", _kill)


def _guarded(answer: Callable[..., Response]) -> Callable[..., Response]:
    def guarded(request: Request, **parts: str) -> Response:
        if not ipaddress.ip_address(request.remote_addr or "::").is_loopback:
            return _json({"error": "only this machine may ask for faults"}, 403)
        return answer(request, **parts)

    return guarded


def _add(request: Request) -> Response:
    try:
        rule = Rule.parse(json.loads(request.get_data()))
        _must_exist(rule.at)
    except BadRule as error:
        return _json({"error": str(error)}, 400)
    except ValueError as error:
        return _json({"error": f"a rule is a JSON object: {error}"}, 400)
    return _json({"id": FAULTS.add(rule)}, 201)


def _must_exist(at: str) -> None:
    service, _, operation = at.partition(":")
    if not operation:
        return
    try:
        load_service(service).operation_model(operation)
    except (UnknownServiceError, OperationNotFoundError) as error:
        raise BadRule(f"at: AWS has no {at}") from error


def _clear(_: Request) -> Response:
    FAULTS.clear()
    return _json({})


def _release(_: Request, fault_id: str) -> Response:
    return _found(known=FAULTS.release(fault_id))


def _environments(_: Request) -> Response:
    from localcloud.plugin.executor import ENVIRONMENTS  # noqa: PLC0415 (not before it is needed)

    seen = [
        {
            "id": name,
            "function": environment.function,
            "pid": environment.pid,
            "busy": environment.concern is not None,
        }
        for name, environment in list(ENVIRONMENTS.items())
    ]
    return _json({"environments": [one for one in seen if one["pid"] is not None]})


def _kill(_: Request, environment_id: str) -> Response:
    from localcloud.plugin.executor import ENVIRONMENTS, run  # noqa: PLC0415

    environment = ENVIRONMENTS.get(environment_id)
    if environment is None or environment.pid is None:
        return _found(known=False)
    run(environment.kill())
    return _json({})


def _found(*, known: bool) -> Response:
    return _json({}) if known else _json({"error": "there is no such id"}, 404)


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response.for_json(content, status=status)


# AWS calls that a function makes


def meet_aws_call(chain: HandlerChain[Any], context: Any, response: Response) -> None:  # noqa: ARG001 (LocalStack's)
    """Called by LocalStack for each AWS call, once it knows the operation."""
    if not FAULTS or context.service is None or context.operation is None:
        return
    caller = CALLER.search(context.request.headers.get("User-Agent", ""))
    if caller is None:
        return
    from localcloud.plugin.executor import ENVIRONMENTS, run  # noqa: PLC0415

    environment = ENVIRONMENTS.get(caller[1])
    concern = environment.concern if environment else None
    if environment is None or concern is None:
        return
    fault = concern.take(f"{context.service.service_name}:{context.operation.name}")
    if fault is None:
        return
    environment.note(fault)
    match fault.do:
        case "kill":
            run(environment.kill())
            _hang_up(context)
        case "lose":
            _hang_up(context)
        case "delay" | "hold":
            with fault.waiting() as released:
                wait([released], fault.seconds)
            return
    raise CommonServiceException("InternalFailure", str(fault), status_code=500)


def _remember_connections() -> None:
    """Put the connection where a handler finds it, for only the web server could end it."""
    original = server.update_wsgi_environment

    @functools.wraps(original)
    def update(environ: dict[str, Any], request: Any) -> None:
        original(environ, request)
        environ[CONNECTION] = request

    setattr(server, "update_wsgi_environment", update)  # noqa: B010 (mypy allows no other)


def _hang_up(context: Any) -> None:
    connection = context.request.environ[CONNECTION]
    reactor.callFromThread(connection.transport.abortConnection)  # type: ignore[attr-defined]


# Messages


def _set_messages_apart() -> None:
    """Call the function for a message that a rule concerns, and for it alone.

    How messages are batched is chance, so this is a batching that could have come about. The others
    of its batch come first, and are deleted before anything happens to it.
    """
    original: Callable[[SqsPoller, list[dict[str, Any]]], None] = SqsPoller.handle_messages

    @functools.wraps(original)
    def handle_messages(poller: SqsPoller, messages: list[dict[str, Any]]) -> None:
        sender = getattr(poller.processor, "sender", None)
        if not FAULTS or sender is None:
            original(poller, messages)
            return
        function = sender.target_arn.split(":")[6]
        others, apart = [], []
        for message in messages:
            concern = FAULTS.message(function, message["MessageId"], message["Body"])
            fault = concern.take("request", only=WAITS)
            if fault is not None:
                _postpone(poller, message, fault)
            elif concern.exists():
                apart.append([message])
            else:
                others.append(message)
        failures = []
        for batch in [others, *apart] if others else apart:
            try:
                original(poller, batch)
            except Exception as error:  # noqa: BLE001 (the next batch must not suffer; see below)
                failures.append(error)
        if failures:
            raise ExceptionGroup("batches failed", failures)

    setattr(SqsPoller, "handle_messages", handle_messages)  # noqa: B010 (mypy allows no other)


def _postpone(poller: SqsPoller, message: Mapping[str, Any], fault: Fault) -> None:
    """Let the message come again later, so that nothing waits for it meanwhile."""

    def come_in(seconds: int) -> None:
        poller.source_client.change_message_visibility(
            QueueUrl=poller.queue_url,
            ReceiptHandle=message["ReceiptHandle"],
            VisibilityTimeout=seconds,
        )

    def come_now(_: object) -> None:
        try:
            come_in(0)
        except (BotoCoreError, ClientError):
            LOG.exception("message %s stays hidden", message["MessageId"])

    come_in(math.ceil(fault.seconds or LONGEST_SECONDS))
    fault.postpone(message["MessageId"]).add_done_callback(come_now)
