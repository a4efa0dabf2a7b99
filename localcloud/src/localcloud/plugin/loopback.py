"""Keep LocalStack off the network.

GATEWAY_LISTEN takes an address, but for IPv4 LocalStack reads only the port and listens on every
interface. An AWS without passwords, whose functions run as the user, must not be open to the LAN.
"""

import functools

from localstack import config
from localstack.runtime.hooks import on_infra_start
from twisted.internet import endpoints


@on_infra_start()  # type: ignore[untyped-decorator]
def listen_where_told() -> None:
    """Called by LocalStack once, before it opens its port."""
    on_our_address = functools.partial(
        endpoints.TCP4ServerEndpoint, interface=config.GATEWAY_LISTEN[0].host
    )
    setattr(endpoints, "TCP4ServerEndpoint", on_our_address)  # noqa: B010 (mypy allows no other)
