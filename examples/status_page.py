"""
The status page: reports are built strictly one after another, and a page shows the status of each.

Clients choose the id of their report, a UUID: the same order sent twice builds one report. The task is an ordinary
blocking function; it runs in a thread of the worker.

    FIFOQ_URL=memory:// uvicorn examples.status_page:app
    curl -X POST localhost:8000/reports/$(uuidgen) --json '{"title": "Sales", "pages": 40}'
    curl localhost:8000/status
"""

import time
from typing import Literal
from uuid import UUID

from fastapi import FastAPI
from pydantic import BaseModel, Field

from fifoq import Fifoq, Job
from fifoq_fastapi import install_errors, lifespan

tasks = Fifoq()
tasks.queue("reports", ordered=True)  # first in, first out, one job at a time
app = FastAPI(title="Reports", lifespan=lifespan(tasks, worker=True))
install_errors(app)


class Order(BaseModel):
    title: str
    pages: int = Field(ge=1, le=1000)


class Report(BaseModel):
    """A report on the status page."""

    id: UUID
    title: str
    status: Literal["in_queue", "in_progress", "complete"]
    outcome: str | None = None


@tasks.task(queue="reports")
def build_report(title: str, pages: int) -> str:
    time.sleep(pages * 0.01)  # blocking work
    return f"{title}: {pages} pages"


@app.post("/reports/{id}", status_code=202)
async def order_report(id: UUID, order: Order) -> Report:
    job = await build_report.options(id=id).enqueue(order.title, order.pages)
    return report_of(await job.status())


@app.get("/status")
async def show_status() -> list[Report]:
    return [report_of(job) async for job in tasks.jobs(queue="reports")]


def report_of(job: Job) -> Report:
    status = {"scheduled": "in_queue", "waiting": "in_queue", "running": "in_progress"}.get(job.state, "complete")
    outcome = job.error.message if job.error else job.reason or job.result
    return Report.model_validate({"id": job.id, "title": job.kwargs["title"], "status": status, "outcome": outcome})
