"""Which rules there can be, and which calls they concern. No LocalStack runs here."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# The module needs nothing but the standard library, and the package is not installed here.
SOURCE = Path(__file__).parents[1] / "src/localcloud/plugin/faults.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("faults_under_test", SOURCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look for their module there.
    spec.loader.exec_module(module)
    return module


faults = _load()

GOOD = {"function": "reserve", "at": "request", "do": "error"}
COMMAND = {
    "type": "inventory.reserve.v1",
    "subject": "order-1",
    "data": {"lines": [{"sku": "SKU-1", "quantity": 2}], "express": True, "note": None},
}


def _rule(**change: Any) -> Any:
    return faults.Rule.parse({**GOOD, **change})


def _taken(rule: Any, payload: object, *, at: str = "request") -> bool:
    rules = faults.Faults()
    rules.add(rule)
    return rules.call("reserve", json.dumps(payload).encode()).take(at) is not None


def _records(*bodies: object) -> dict[str, object]:
    return {
        "Records": [
            {"eventSource": "aws:sqs", "messageId": f"m{number}", "body": json.dumps(body)}
            for number, body in enumerate(bodies)
        ]
    }


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ([], "a rule is a JSON object"),
        ({**GOOD, "wen": 1}, "wen: there is no such field"),
        ({"at": "request", "do": "error"}, "function: "),
        ({**GOOD, "function": ""}, "function: "),
        ({**GOOD, "function": 7}, "function: "),
        ({**GOOD, "at": None}, "at: "),
        ({**GOOD, "at": "reply"}, "at: "),
        ({**GOOD, "at": "sns"}, "at: "),
        ({**GOOD, "at": "sns:Publish:x"}, "at: "),
        ({**GOOD, "at": ["request"]}, "at: "),
        ({**GOOD, "do": "explode"}, "do: at request it must be one of error, kill, "),
        ({**GOOD, "do": ["kill"]}, "do: "),
        ({**GOOD, "at": "response", "do": "twice"}, "do: at response it must be one of "),
        ({**GOOD, "at": "sns:Publish", "do": "twice"}, "do: at sns:Publish it must be one of "),
        ({**GOOD, "do": "delay"}, "seconds: "),
        ({**GOOD, "do": "delay", "seconds": "2"}, "seconds: "),
        ({**GOOD, "do": "delay", "seconds": True}, "seconds: "),
        ({**GOOD, "do": "delay", "seconds": 0}, "seconds: must be above 0"),
        ({**GOOD, "do": "delay", "seconds": 43201}, "seconds: must be above 0 and at most 43200"),
        ({**GOOD, "do": "delay", "seconds": float("nan")}, "seconds: "),
        ({**GOOD, "times": 0}, "times: "),
        ({**GOOD, "times": 1.5}, "times: "),
        ({**GOOD, "times": True}, "times: "),
        ({**GOOD, "where": "subject"}, "where: "),
        ({**GOOD, "where": {"data": {"sku": "1"}}}, "where: 'data' must be"),
        ({**GOOD, "where": {"data..sku": "1"}}, "where: 'data..sku' must be"),
        ({**GOOD, "where": {"": "1"}}, "where: '' must be"),
    ],
)
def test_a_bad_rule_is_refused_by_the_name_of_its_field(given: object, error: str) -> None:
    with pytest.raises(faults.BadRule) as refused:
        faults.Rule.parse(given)

    assert str(refused.value).startswith(error)


def test_a_rule_without_a_number_of_times_is_for_one_and_null_is_for_all() -> None:
    assert (_rule().times, _rule(times=None).times) == (1, None)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"type": "inventory.reserve.v1", "subject": "order-1"},
        {"data.lines.0.sku": "SKU-1"},
        {"data.lines.0.quantity": 2},
        {"data.lines.0.quantity": "2"},
        {"data.express": True},
        {"data.express": "true"},
        {"data.note": None},
    ],
)
def test_a_call_whose_every_path_holds_the_value_is_concerned(where: dict[str, Any]) -> None:
    assert _taken(_rule(where=where), COMMAND)
    assert _taken(_rule(where=where), _records(COMMAND))


@pytest.mark.parametrize(
    "where",
    [
        {"subject": "order-2"},
        {"type": "inventory.reserve.v1", "subject": "order-2"},
        {"nothing": "None"},
        {"nothing": None},
        {"subject.more": "order-1"},
        {"data.lines.1.sku": "SKU-1"},
        {"data.lines.-1.sku": "SKU-1"},
        {"data.lines.first.sku": "SKU-1"},
        {"data.lines.0.sku.more": "SKU-1"},
        {"data": "order-1"},
    ],
)
def test_a_call_that_differs_in_one_path_is_not_concerned(where: dict[str, Any]) -> None:
    assert not _taken(_rule(where=where), COMMAND)
    assert not _taken(_rule(where=where), _records(COMMAND))


def test_a_path_goes_on_into_json_that_is_text() -> None:
    event = {"httpMethod": "POST", "body": json.dumps({"customer_id": "c1"})}

    assert _taken(_rule(where={"body.customer_id": "c1", "httpMethod": "POST"}), event)
    assert not _taken(_rule(where={"body.customer_id": "c2"}), event)


def test_a_payload_that_is_no_json_is_concerned_only_by_a_rule_for_every_call() -> None:
    for where, taken in (({}, True), ({"subject": "order-1"}, False)):
        rules = faults.Faults()
        rules.add(_rule(where=where))
        assert bool(rules.call("reserve", b"{oops").take("request")) is taken


def test_a_rule_concerns_no_other_function_and_no_other_point() -> None:
    rules = faults.Faults()
    rules.add(_rule(at="response"))

    assert rules.call("release", b"{}").take("response") is None
    assert rules.call("reserve", b"{}").take("request") is None
    assert rules.call("reserve", b"{}").take("response") is not None


def test_a_rule_concerns_a_message_and_not_a_crowd_of_them() -> None:
    assert not _taken(_rule(), _records(COMMAND, COMMAND))


def test_a_rule_is_used_up_and_the_next_one_follows() -> None:
    rules = faults.Faults()
    rules.add(_rule(do="kill", times=2))
    rules.add(_rule(do="error", times=None))

    done = [rules.call("reserve", b"{}").take("request").do for _ in range(4)]

    assert done == ["kill", "kill", "error", "error"]
    assert [rule["hits"] for rule in rules.describe()] == [2, 2]


def test_at_an_operation_a_rule_meets_every_retry_of_one_call_and_counts_it_once() -> None:
    rules = faults.Faults()
    rules.add(_rule(at="sns:Publish"))
    first, second = (rules.call("reserve", b"{}") for _ in range(2))

    met = [call.take("sns:Publish") is not None for call in (first, first, second, first)]

    assert met == [True, True, False, True]
    assert rules.describe()[0]["hits"] == 1


def test_a_call_that_never_gets_to_the_operation_uses_no_rule_up() -> None:
    rules = faults.Faults()
    rules.add(_rule(at="sns:Publish"))

    assert rules.call("reserve", b"{}").exists()
    assert rules.call("reserve", b"{}").take("request") is None
    assert rules.describe()[0]["hits"] == 0


def test_a_message_is_postponed_once_by_one_rule() -> None:
    rules = faults.Faults()
    rules.add(_rule(do="delay", seconds=60, times=None))

    def arrive(name: str) -> Any:
        return rules.message("reserve", name, "{}").take("request", only=faults.WAITS)

    arrive("m1").postpone("m1")

    assert arrive("m1") is None
    assert arrive("m2") is not None


def test_the_first_rule_wins_even_where_the_poller_looks_for_another() -> None:
    rules = faults.Faults()
    rules.add(_rule(do="error"))
    rules.add(_rule(do="hold"))

    assert rules.message("reserve", "m1", "{}").take("request", only=faults.WAITS) is None
    assert [rule["hits"] for rule in rules.describe()] == [0, 0]


@pytest.mark.parametrize("end", ["release", "remove", "clear"])
def test_what_a_rule_holds_goes_on_when_it_is_released_or_the_rule_is_gone(end: str) -> None:
    rules = faults.Faults()
    fault_id = rules.add(_rule(do="hold", times=None))
    call = rules.call("reserve", b"{}").take("request")
    message = rules.message("reserve", "m1", "{}").take("request").postpone("m1")
    with call.waiting() as released:
        assert rules.describe()[0]["holding"] == 2

        rules.clear() if end == "clear" else getattr(rules, end)(fault_id)

        assert released.done()
        assert message.done()
    assert [rule["holding"] for rule in rules.describe()] == ([0] if end == "release" else [])


def test_nothing_is_held_by_a_rule_that_is_gone_already() -> None:
    rules = faults.Faults()
    rules.add(_rule(do="hold"))
    late = rules.call("reserve", b"{}").take("request")
    rules.clear()

    with late.waiting() as released:
        assert released.done()


def test_what_has_waited_its_time_is_not_held_any_more() -> None:
    rules = faults.Faults()
    rules.add(_rule(do="delay", seconds=0.001))
    with rules.call("reserve", b"{}").take("request").waiting():
        pass
    rules.add(_rule(do="delay", seconds=0.001))
    released = rules.message("reserve", "m1", "{}").take("request").postpone("m1")

    while rules.describe()[1]["holding"]:
        pass

    assert rules.describe()[0]["holding"] == 0
    assert rules.release("2")
    assert not released.done()  # It came again by itself: nobody is to bring it once more.


def test_a_rule_is_given_back_as_it_was_given() -> None:
    given = {**GOOD, "where": {"subject": "order-1"}, "seconds": None, "times": None}
    rules = faults.Faults()
    fault_id = rules.add(faults.Rule.parse(given))

    assert rules.describe() == [{"id": fault_id, "rule": given, "hits": 0, "holding": 0}]
    assert not rules.remove("none")
    assert not rules.release("none")
