"""`python -m bench.state`: what state costs: 10,000 responses in SQLite and PostgreSQL, and a chain of 1,000 turns.

Times are those of one caller at a time, in milliseconds; memory is that of this process, in megabytes.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from aigateway import _json
from aigateway.ids import new_id
from aigateway.state import ResponseStore, open_store
from aigateway.state.record import Record
from aigateway.state.responses import Responses
from tests.state import servers


def _item(text: str) -> bytes:
    return _json.encode({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


async def _turn(responses: Responses, previous: Record | None) -> tuple[str, Record]:
    id = new_id("resp")  # noqa: A001 - its name everywhere
    record = Record(status="completed", body=_json.encode({"id": id, "object": "response", "output": []}))
    said = [_item("what is asked " * 10)], [_item("what is answered " * 30)]
    await responses.finish("bench", id, record, *said, previous=previous)
    return id, record


async def _measured(store: ResponseStore, count: int, turns: int) -> str:
    responses = Responses(store, new_id, ttl=None)
    ids = [(await _turn(responses, None))[0] for _ in range(count // 10)]
    before, started = _resident(), time.perf_counter()
    ids += [(await _turn(responses, None))[0] for _ in range(count - len(ids))]
    writing = (time.perf_counter() - started) / (count - count // 10) * 1e3
    grown = _resident() - before

    gets = []
    for id in ids[:: max(1, count // 500)]:  # noqa: A001
        started = time.perf_counter()
        stored = await responses.get("bench", id)
        await responses.entries("bench", stored.record, stored.record.middle, stored.record.end)
        gets.append((time.perf_counter() - started) * 1e3)

    record, chained = None, []
    last = ""
    for _ in range(turns):
        started = time.perf_counter()
        if record is not None:
            record = (await responses.previous("bench", last)).record
        last, record = await _turn(responses, record)
        chained.append((time.perf_counter() - started) * 1e3)
    started = time.perf_counter()
    stored = await responses.previous("bench", last)
    items = await responses.chain("bench", stored.record)
    whole = (time.perf_counter() - started) * 1e3
    first, late = statistics.median(chained[:100]), statistics.median(chained[-100:])
    return (
        f"{store.name:11}  write {writing:.2f}  get p50 {statistics.median(gets):.2f}  "
        f"chained turn p50 {first:.2f} (first 100), {late:.2f} (last 100)  "
        f"{len(items)} items read back {whole:.1f}  memory +{grown:.1f} MB"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.state", description=__doc__)
    parser.add_argument("--responses", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        await _run(f"sqlite:///{folder}/state.db", options)
    with servers.shared("postgres", uuid.uuid4().hex, servers.start_postgres) as place:
        await _run(servers.postgres_url(place), options)
    with servers.shared("redis", uuid.uuid4().hex, servers.start_redis) as place:
        await _run(f"unix://{place}/redis.sock", options)


async def _run(url: str, options: argparse.Namespace) -> None:
    store = open_store(url)
    print(await _measured(store, options.responses, options.turns), flush=True)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main())
