"""Imports one handler as Lambda does, calls it if asked to, and says what it saw.

    python -I import_handler.py FOLDER orders/handlers/get_order.handler [EVENT]

Run by the runtime's interpreter. The last line that it prints is JSON:

    callable   whether there is a handler
    strangers  modules from neither zip, runtime nor Python itself
    modules    all that is loaded at the end of the init phase
    answer     what the handler answered to EVENT (JSON)
    files      files of the zip that were loaded by then
"""

import importlib
import json
import sys
import sysconfig
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def main(folder: str, handler: str, event: str = "") -> None:
    """Import `handler` with `folder` in front, as Lambda's bootstrap does."""
    sys.path.insert(0, folder)
    name, attribute = handler.rsplit(".", 1)
    module = importlib.import_module(name.replace("/", "."))
    modules = sorted(sys.modules)
    found: dict[str, Any] = {
        "callable": callable(getattr(module, attribute, None)),
        "strangers": _strangers(Path(folder)),
        "modules": modules,
    }
    if event:
        found["answer"] = getattr(module, attribute)(json.loads(event), _context())
        found["files"] = sorted(_relative(Path(folder)))
    print(json.dumps(found))


def _files() -> dict[str, Path]:
    return {
        name: Path(file).resolve()
        for name, loaded in list(sys.modules.items())
        # multiprocessing calls this very program by a second name.
        if name not in {"__main__", "__mp_main__"}
        if (file := getattr(loaded, "__file__", None))
    }


def _libraries() -> set[Path]:
    """Return the native libraries that the process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line[line.index("/") :]).resolve() for line in lines if ".so" in line}


def _strangers(folder: Path) -> list[str]:
    homes = [folder.resolve()]
    homes += [Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "stdlib")]
    return [
        f"{name} from {path}"
        for name, path in _files().items()
        if not any(path.is_relative_to(home) for home in homes)
    ]


def _relative(folder: Path) -> set[str]:
    home = folder.resolve()
    loaded = {*_files().values(), *_libraries()}
    return {path.relative_to(home).as_posix() for path in loaded if path.is_relative_to(home)}


def _context() -> SimpleNamespace:
    return SimpleNamespace(
        function_name="function",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:function",
        aws_request_id="11111111-1111-1111-1111-111111111111",
        get_remaining_time_in_millis=lambda: int(300_000 - 1000 * time.process_time()),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
