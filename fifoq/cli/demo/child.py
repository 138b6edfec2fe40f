"""How a process of the demo ends with the demo, however that ends: even killed, it leaves nobody behind."""

import os
import threading
from collections.abc import Callable


def when_orphaned(stop: Callable[[], object]) -> None:
    """Call `stop`, in a thread of its own, once standard input ends. Raw reads: a buffered one holds a lock at exit."""

    def listen() -> None:
        while os.read(0, 1024):
            pass
        stop()

    threading.Thread(target=listen, daemon=True).start()
