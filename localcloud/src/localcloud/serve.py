"""LocalStack in the foreground: `python -m localcloud.serve STATE_FOLDER`.

The argument is not read here. It tells this LocalStack from others in the process table.
"""

import os
import sys

from localstack.runtime.main import main

if __name__ == "__main__":
    try:
        main()  # type: ignore[no-untyped-call]
    except SystemExit as end:
        # Its services have stopped by now. What Python would still do, joining idle threads and
        # freeing a large heap, takes seconds and saves nothing.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
