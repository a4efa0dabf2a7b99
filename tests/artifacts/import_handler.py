"""Imports one handler as Lambda does, and says what it saw: run by the runtime's interpreter.

    .local/venvs/runtime/bin/python -I import_handler.py FOLDER orders/handlers/place_order.handler

Prints JSON: {"callable": bool, "strangers": [modules from neither zip, runtime nor Python itself]}
"""

import importlib
import json
import sys
import sysconfig
from pathlib import Path


def main(folder: str, handler: str) -> None:
    """Import `handler` with `folder` in front, as Lambda's bootstrap does."""
    sys.path.insert(0, folder)
    name, attribute = handler.rsplit(".", 1)
    module = importlib.import_module(name.replace("/", "."))
    homes = [Path(folder).resolve()]
    homes += [Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "stdlib")]
    strangers = []
    for loaded in list(sys.modules.values()):
        file = getattr(loaded, "__file__", None)
        if file and loaded.__name__ != "__main__":
            path = Path(file).resolve()
            if not any(path.is_relative_to(home) for home in homes):
                strangers.append(f"{loaded.__name__} from {file}")
    found = {"callable": callable(getattr(module, attribute, None)), "strangers": strangers}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
