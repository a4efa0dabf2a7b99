"""boto3 clients, all with the same short timeouts and bounded retries.

A default client waits 60 s for a connection, longer than any function here may run: the
function would be killed and nobody would learn why.
"""

from typing import Any

import boto3
from botocore.config import Config


def client(service: str, *, read_timeout: float = 10, attempts: int = 4) -> Any:
    """Return a client of `service` ("sns", "stepfunctions", …); call it in the init phase only.

    A call gives up after `attempts` times `read_timeout` seconds. Where going on without an
    answer is possible, both should be small enough that the function lives to do so.
    """
    config = Config(
        connect_timeout=2,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    return boto3.client(service, config=config)
