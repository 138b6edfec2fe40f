"""fifoq for FastAPI: the lifespan, the routes, the errors, and dependencies for routes of your own."""

from fifoq_fastapi.dependencies import JobAdder, Jobs, LateJobAdder, LateJobs, RateLimit, job_adder, late_job_adder
from fifoq_fastapi.lifecycle import lifespan
from fifoq_fastapi.problems import RateExceeded, install_errors
from fifoq_fastapi.routing import router

__all__ = [
    "JobAdder",
    "Jobs",
    "LateJobAdder",
    "LateJobs",
    "RateExceeded",
    "RateLimit",
    "install_errors",
    "job_adder",
    "late_job_adder",
    "lifespan",
    "router",
]
