"""What a task may be called with, and what it returns: checked at enqueue, sent as bytes, rebuilt in the worker."""

from fifoq.signature.signature import Arguments, Signature

__all__ = ["Arguments", "Signature"]
