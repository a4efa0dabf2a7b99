"""Functions and layers on disk: unpacked once for each content, and read-only."""

import hashlib
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import IO, Protocol


class Archive(Protocol):
    """A zip that LocalStack keeps in its own S3: an `S3Code`."""

    @property
    def code_sha256(self) -> str:
        """The content's name."""

    def _download_archive_to_file(self, target_file: IO[bytes]) -> None: ...


class Shelf:
    """Folders by content. A folder goes when the last version that uses it has gone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._users: defaultdict[Path, set[str]] = defaultdict(set)

    def take(self, user: str, *archives: Archive) -> Path:
        """The folder that holds these archives, a later one over an earlier one."""
        key = " ".join(archive.code_sha256 for archive in archives)
        folder = self._root / hashlib.sha256(key.encode()).hexdigest()[:32]
        with self._lock:
            self._users[folder].add(user)
            if not folder.exists():
                self._root.mkdir(parents=True, exist_ok=True)
                # Moved into place when complete, so that a folder is whole or absent.
                fresh = Path(tempfile.mkdtemp(dir=self._root))
                for archive in archives:
                    with tempfile.TemporaryFile() as file:
                        archive._download_archive_to_file(file)  # noqa: SLF001
                        file.seek(0)
                        unpack(file, fresh)
                close(fresh)
                fresh.rename(folder)
        return folder

    def release(self, user: str) -> None:
        """Forget a user, and delete what nobody else uses."""
        with self._lock:
            for folder, users in list(self._users.items()):
                users.discard(user)
                if not users:
                    del self._users[folder]
                    delete(folder)


def unpack(file: IO[bytes], folder: Path) -> None:
    """Unpack a zip with the dates that stand in it.

    The dates matter: Python compares a source's date with the one in its bytecode, so a
    package whose bytecode is stale on AWS must be as stale, and as slow to start, here.
    """
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, folder))
            if entry.is_dir():
                continue
            executable = (entry.external_attr >> 16) & 0o111
            path.chmod(0o755 if executable else 0o644)
            date = time.mktime((*entry.date_time, 0, 0, -1))
            os.utime(path, (date, date))


def close(folder: Path) -> None:
    """Take away every right to write."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(parent, name)
            path.chmod(path.stat().st_mode & 0o555)
        Path(parent).chmod(0o555)


def delete(folder: Path) -> None:
    """Delete a folder that `close` closed."""
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
