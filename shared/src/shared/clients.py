"""AWS clients, all with the same short timeouts and bounded retries.

They are botocore's: boto3 makes the same ones, and imports S3's transfer manager and
multiprocessing before it does. A default client waits 60 s for a connection, longer than any
function here may run: the function would be killed and nobody would learn why.
"""

import functools
from typing import Any

from botocore.config import Config
from botocore.session import Session, get_session


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
    return _session().create_client(service, config=config)


@functools.cache
def _session() -> Session:
    # One for all clients: what it has read of endpoints and partitions serves them all.
    return get_session()
