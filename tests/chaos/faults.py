"""Client of the local cloud's fault injection (localcloud/README.md)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.cloud import Cloud

Rule = dict[str, Any]


class Faults:
    """Rules that break calls on purpose, and the processes that serve them."""

    def __init__(self, cloud: Cloud) -> None:
        self._http = httpx.Client(base_url=f"{cloud.endpoint}/_orderflow", timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def add(self, rule: Rule) -> str:
        """Add a rule; return its id."""
        fault_id: str = self._ask("POST", "/faults", json=rule)["id"]
        return fault_id

    def all(self) -> dict[str, dict[str, Any]]:
        """Return every rule with its hits and what it holds, by id."""
        return {fault["id"]: fault for fault in self._ask("GET", "/faults")["faults"]}

    def remove(self, fault_id: str) -> None:
        """Remove a rule if it is there; what it holds goes on."""
        answer = self._http.delete(f"/faults/{fault_id}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def clear(self) -> None:
        """Remove every rule."""
        self._http.delete("/faults").raise_for_status()

    def release(self, fault_id: str) -> None:
        """Let what a rule holds go on."""
        self._http.post(f"/faults/{fault_id}/release").raise_for_status()

    @contextmanager
    def during(self, *rules: Rule) -> Iterator[list[str]]:
        """Keep the rules for as long as the block runs; yield their ids."""
        ids: list[str] = []
        try:
            ids.extend(map(self.add, rules))
            yield ids
        finally:
            for fault_id in ids:
                self.remove(fault_id)

    def environments(self) -> list[dict[str, Any]]:
        """Return the functions' processes: id, function, pid, busy."""
        found: list[dict[str, Any]] = self._ask("GET", "/environments")["environments"]
        return found

    def kill(self, environment_id: str) -> bool:
        """Kill a process with SIGKILL; False if it had gone by itself."""
        answer = self._http.post(f"/environments/{environment_id}/kill")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        answer.raise_for_status()
        return True

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._http.request(method, path, **options)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        content: dict[str, Any] = answer.json()
        return content
