"""A wrong deployment fails in the init phase, naming the variable."""

import pytest

from shared.config import setting
from shared.errors import MissingSetting, OrderflowError


def test_a_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_EVENTS_TOPIC_ARN", "arn:aws:sns:…")
    assert setting("ORDER_EVENTS_TOPIC_ARN") == "arn:aws:sns:…"


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("ORDER_EVENTS_TOPIC_ARN", raising=False)
    else:
        monkeypatch.setenv("ORDER_EVENTS_TOPIC_ARN", value)
    with pytest.raises(MissingSetting, match=r"^ORDER_EVENTS_TOPIC_ARN$") as caught:
        setting("ORDER_EVENTS_TOPIC_ARN")
    assert isinstance(caught.value, OrderflowError)
