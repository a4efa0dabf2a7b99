"""Where one local cloud lives: its state folder and its two ports, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REGION = "us-east-1"
HIGHEST_PORT = 65535
LOOPBACK = "127.0.0.1"


class SettingError(Exception):
    """A setting of the environment that cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Settings:
    """Two clouds run side by side when all three of `state` and the ports differ."""

    state: Path
    port: int
    postgres_port: int
    runtime_python: Path
    listen: str = LOOPBACK

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the ORDERFLOW_* variables. Raises SettingError."""
        return cls(
            state=Path(environment.get("ORDERFLOW_STATE") or ".local/cloud").absolute(),
            port=_port(environment, "ORDERFLOW_PORT", 4566),
            postgres_port=_port(environment, "ORDERFLOW_POSTGRES_PORT", 5466),
            # absolute(), not resolve(): behind the link is the interpreter without its venv.
            runtime_python=Path(
                environment.get("ORDERFLOW_RUNTIME_PYTHON") or ".local/venvs/runtime/bin/python"
            ).absolute(),
            # Only a container listens further: what is published of it is its host's to say.
            listen=environment.get("ORDERFLOW_LISTEN") or LOOPBACK,
        )

    @property
    def endpoint(self) -> str:
        """The URL of every AWS API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def postgres_data(self) -> Path:
        """Kept until `make clean`."""
        return self.state / "postgres"

    @property
    def localstack(self) -> Path:
        """Emptied at every start: LocalStack forgets everything anyway."""
        return self.state / "localstack"

    def log(self, name: str) -> Path:
        """The log file of one of the two servers."""
        return self.state / "logs" / f"{name}.log"


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        raise SettingError(f"{name}={text} is not a port")
    return int(text)
