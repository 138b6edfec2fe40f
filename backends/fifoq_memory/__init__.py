"""fifoq's backend in process memory: `memory://` and `memory://name`."""

from fifoq_memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]
