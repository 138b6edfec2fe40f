"""The bare round trip: an awaited ECHO of redis-py, on one connection. It is no queue, only a bound."""

from collections.abc import Callable

import redis.asyncio

from benchmarks.contestants.on_redis.contestant import ONE, NotOffered, Options, Started, Timer, put_async, run


class Echo:
    ways = (ONE,)

    def work(self, options: Options, started: Started) -> None:
        raise NotOffered("it runs no jobs")

    def put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        run(options, self._put(options, way, jobs, timer))

    async def _put(self, options: Options, way: str, jobs: int, timer: Timer) -> None:
        async with redis.asyncio.Redis.from_url(options.url, single_connection_client=True) as client:
            await client.ping()
            await put_async(way, jobs, timer, lambda: client.echo("x"))

    def call(
        self, options: Options, pause: Callable[[], float], samples: int, measured: Callable[[float, float], None]
    ) -> None:
        raise NotOffered("it runs no jobs")


contestant = Echo()
