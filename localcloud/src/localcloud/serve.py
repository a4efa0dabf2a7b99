"""LocalStack in the foreground: `python -m localcloud.serve STATE_FOLDER`.

The argument is not read here. It tells this LocalStack from others in the process table.
"""

from localstack.runtime.main import main

if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
