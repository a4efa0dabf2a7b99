"""The drawn matrix stands alone: whatever an order's texts hold, and without any other host."""

import json
import re
from dataclasses import asdict
from typing import Any

from tests.chaos.aftermath import Aftermath
from tests.chaos.cells import generate
from tests.chaos.experiment import blank
from tests.chaos.graph import saga
from tests.chaos.matrix import report
from tests.chaos.page import draw


def drawn(**changes: Any) -> str:
    results = [blank(cell) for cell in generate(saga())]
    for name, value in changes.items():
        setattr(results[0], name, value)
    return draw(report(results, Aftermath(), 1))


def data_of(page: str) -> Any:
    found = re.search(r"^const DATA = (.*);$", page, re.MULTILINE)
    assert found
    return json.loads(found[1])


def test_the_page_holds_every_cell() -> None:
    cells = data_of(drawn())["cells"]

    assert [cell["slug"] for cell in cells] == [cell.slug for cell in generate(saga())]


def test_the_page_asks_no_other_host_for_anything() -> None:
    page = drawn()

    assert "//" not in re.sub(r"^const DATA = .*$", "", page, flags=re.MULTILINE)
    assert "default-src 'none'" in page
    assert not re.search(r"\b(src|href)=(?!\"data:)", page)


def test_a_text_cannot_break_out_of_the_page() -> None:
    nasty = "</script><script>alert(1)</script><!--"

    page = drawn(reason=nasty)

    assert page.count("</script>") == 1
    assert "<!--" not in page
    assert data_of(page)["cells"][0]["reason"] == nasty


def test_a_cell_that_ended_wrong_is_counted() -> None:
    cell = blank(generate(saga())[0])
    cell.wrong.append("status is PLACED")

    content = report([cell], Aftermath(wrong=["1 unit is missing"]), 1)

    assert content["wrong"] == 2
    assert content["cells"][0]["wrong"] == asdict(cell)["wrong"]
