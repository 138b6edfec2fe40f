"""Functions whose annotations are objects, or texts where they name a class that is defined below."""

from typing import Any

from pydantic import BaseModel

from fifoq import Context


async def async_pack(order: "Order", times: int = 1) -> "Order":
    return Order(number=order.number * times)


def sync_pack(order: "Order", times: int = 1) -> "Order":
    return Order(number=order.number * times)


async def async_with_context(ctx: Context, order: "Order", times: int = 1) -> "Order":
    assert ctx.attempt == 1
    return Order(number=order.number * times)


def sync_with_context(ctx: Context, order: "Order", times: int = 1) -> "Order":
    assert ctx.attempt == 1
    return Order(number=order.number * times)


def yields(order: "Order") -> Any:
    yield order


async def yields_later(order: "Order") -> Any:
    yield order


class Shop:
    def method(self, order: "Order") -> None: ...

    @staticmethod
    async def static(order: "Order", times: int = 1) -> "Order":
        return Order(number=order.number * times)


class Order(BaseModel):
    number: int


FUNCTIONS = [async_pack, sync_pack, async_with_context, sync_with_context, Shop.static]
REFUSED = [(yields, "yields"), (yields_later, "yields"), (Shop.method, "is a method")]
