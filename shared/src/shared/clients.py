"""boto3 clients, all with the same short timeouts and bounded retries.

A default client waits 60 s for a connection, longer than any function here may run: the
function would be killed and nobody would learn why.
"""

from typing import Any

import boto3
from botocore.config import Config

_CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "max_attempts": 3},
)


def client(service: str) -> Any:
    """Return a client of `service` ("sns", "stepfunctions", …); call it in the init phase only."""
    return boto3.client(service, config=_CONFIG)
