"""The status-page story: clients choose ids, reports run strictly one after another, and are shown in that order."""

import asyncio
import time
from uuid import uuid4

REPORTS = 12
ORDER_OF_STATES = ["complete", "in_progress", "in_queue"]


async def test_reports_are_built_one_after_another_and_shown_in_the_order_submitted(run) -> None:
    ids = [str(uuid4()) for _ in range(REPORTS)]
    async with run("status_page") as example:
        client = example.client
        for number, id in enumerate(ids):
            answer = await client.post(f"/reports/{id}", json={"title": f"r{number}", "pages": 1 + 7 * number % 5})
            assert answer.status_code == 202
            assert answer.json()["id"] == id
        seen_in_progress = set[str]()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            page = (await client.get("/status")).json()
            assert [report["id"] for report in page] == ids
            states = [report["status"] for report in page]
            assert states == sorted(states, key=ORDER_OF_STATES.index), "a later report overtook an earlier one"
            assert states.count("in_progress") <= 1
            seen_in_progress |= {report["id"] for report in page if report["status"] == "in_progress"}
            if states == ["complete"] * REPORTS:
                break
            await asyncio.sleep(0.005)
    assert [report["outcome"] for report in page] == [f"r{n}: {1 + 7 * n % 5} pages" for n in range(REPORTS)]
    assert len(seen_in_progress) > REPORTS // 3


async def test_the_same_order_twice_is_one_report_and_another_under_its_id_is_refused(run) -> None:
    id, order = str(uuid4()), {"title": "Sales", "pages": 1}
    async with run("status_page") as example:
        client = example.client
        for _ in range(2):
            assert (await client.post(f"/reports/{id}", json=order)).status_code == 202
        assert (await client.post(f"/reports/{id}", json=order | {"pages": 2})).status_code == 422
        assert (await client.post("/reports/7", json=order)).status_code == 422
        assert len((await client.get("/status")).json()) == 1
