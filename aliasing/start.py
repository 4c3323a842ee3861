"""The process of the command ``aliasing``: whatever a network's own code does to it, it ends, and its output is ours.

Tests and notebooks call `aliasing.cli.main`, which leaves the process as it is.
"""

import os
import sys
import threading
import time
from contextlib import suppress

_PATIENCE = 5.0  # seconds that threads of others have to end


def main() -> int:
    """Run one command in a process of its own, and return its exit code."""
    code = 130
    try:
        _keep_output_apart()
        from aliasing.cli import main as run

        code = run()
    except KeyboardInterrupt:  # before the command began
        print("aliasing: interrupted", file=sys.stderr)
    except SystemExit as error:  # of argparse
        code = error.code if isinstance(error.code, int) else 1
        raise
    finally:
        threading.Thread(target=_end, args=(code,), daemon=True).start()
    return code


def _keep_output_apart() -> None:
    """Print to a copy of descriptor 1, and send to standard error what anybody else writes to it.

    A program that reads the JSON of ``--json`` reads nothing else.
    """
    own = sys.stdout
    with suppress(AttributeError, OSError, ValueError):  # either is closed
        descriptor = os.dup(own.fileno())
        os.dup2(sys.stderr.fileno(), own.fileno())
        buffering = 1 if own.line_buffering else -1
        sys.stdout = os.fdopen(descriptor, "w", buffering, own.encoding, own.errors)


def _end(code: int) -> None:
    """End the process in a while, if it has not ended by itself because a thread of somebody else's still runs."""
    time.sleep(_PATIENCE)
    running = [thread.name for thread in threading.enumerate() if not thread.daemon and thread.is_alive()]
    names = ", ".join(name for name in running if name != threading.main_thread().name) or "something"
    with suppress(Exception):
        print(f"aliasing: ended, although {names} still runs", file=sys.stderr)
        sys.stdout.flush()
    os._exit(code)
