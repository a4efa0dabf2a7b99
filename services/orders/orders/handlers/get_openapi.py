"""GET /openapi.json: the API's description, made by `make openapi`."""

from pathlib import Path
from typing import Any

# Nothing of ours is imported, and no database asked: a cold start is one small file read.
_ANSWER = {
    "statusCode": 200,
    "headers": {
        "Content-Type": "application/json",
        "Cache-Control": "public, max-age=300",
        # For viewers that live elsewhere: it is no secret.
        "Access-Control-Allow-Origin": "*",
    },
    "body": (Path(__file__).parents[2] / "openapi.json").read_text(encoding="utf-8"),
}


def handler(_event: Any, _context: Any) -> dict[str, Any]:
    """Answer 200 with the document."""
    return _ANSWER
