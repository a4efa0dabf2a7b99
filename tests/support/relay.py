"""A relay between a client and a server on loopback: it counts round trips, and can speak TLS.

A round trip begins when the client speaks first, or again after the server has spoken. What the
client sends in one go, however many statements, is one.
"""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TLS_WANTED = (8).to_bytes(4) + (80877103).to_bytes(4)
"""What a Postgres client says first if it wants TLS."""


class Relay:
    """Listens at `address`, and counts the `round_trips` and `connections` of all its clients."""

    def __init__(self, server: str, certificate: Path | None = None) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._tls = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.round_trips = self.connections = self.encrypted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more clients; those that are there go on."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return  # closed
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._tls:
                assert client.recv(8, socket.MSG_WAITALL) == _TLS_WANTED
                client.sendall(b"S")
                client = self._tls.wrap_socket(client, server_side=True)
                self.encrypted += 1
            with client, socket.create_connection(self._server) as server:
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pass_on(client, server)
        except OSError:
            client.close()  # either hung up in its own way; the other notices

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        servers_turn = False
        while True:
            # What TLS has decrypted already waits in no socket.
            decrypted = isinstance(client, ssl.SSLSocket) and client.pending()
            ready = [client] if decrypted else select.select([client, server], [], [])[0]
            for one, other in ((client, server), (server, client)):
                if one in ready:
                    said = one.recv(65536)
                    if not said:
                        return
                    if one is client and not servers_turn:
                        self.round_trips += 1
                    servers_turn = one is client
                    other.sendall(said)


@contextmanager
def relay(server: str, certificate: Path | None = None) -> Iterator[Relay]:
    """Run a relay to `server` (`host:port`); a certificate file with its key makes it speak TLS."""
    made = Relay(server, certificate)
    try:
        yield made
    finally:
        made.close()
