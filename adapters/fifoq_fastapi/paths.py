"""Names in paths: of jobs, queues and tasks. They may hold slashes; what is no name is told so by the route."""

from starlette.convertors import Convertor, register_url_convertor


class _NameConvertor(Convertor[str]):
    # Starlette's own `path` stops at a line break: then no route would match, and the app would answer.
    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("fifoq_name", _NameConvertor())

JOB = "/jobs/{id:fifoq_name}"
QUEUE = "/queues/{name:fifoq_name}"
ANY_TASK = "/tasks/{name:fifoq_name}"
