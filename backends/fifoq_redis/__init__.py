"""Redis and Valkey as a backend of fifoq: the whole contract, for many machines."""

from fifoq_redis.backend import RedisBackend

__all__ = ["RedisBackend"]
