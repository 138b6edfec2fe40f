"""
The routes of a Fifoq: enqueue, look at a job, and whether the service is up.

Built from declarations, so that the OpenAPI document tells each task's own arguments; what the routes do is in
`endpoints`.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from fastapi import APIRouter

from fifoq import Fifoq
from fifoq.errors import ConfigurationError
from fifoq.task import Task
from fifoq_fastapi.access import Access, Authenticate, OwnerOf
