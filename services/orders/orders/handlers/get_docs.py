"""GET /docs: the API's description as a page, made by `make openapi`."""

from pathlib import Path
from typing import Any

# Nothing of ours is imported, and no database asked: a cold start is one small file read.
_ANSWER = {
    "statusCode": 200,
    "headers": {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "public, max-age=300",
        # The page has nothing to fetch, and a browser holds it to that.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
    },
    "body": (Path(__file__).parents[2] / "docs.html").read_text(encoding="utf-8"),
}


def handler(_event: Any, _context: Any) -> dict[str, Any]:
    """Answer 200 with the page."""
    return _ANSWER
