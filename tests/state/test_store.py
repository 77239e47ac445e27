"""What every store of state promises, over every backend: real servers of PostgreSQL and Redis among them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from aigateway.state import MemoryStore, ResponseStore, StoreUnavailableError, open_store, sql
from aigateway.state.encryption import EncryptedStore
from aigateway.state.opening import key_of
from aigateway.state.protocol import (
    Append,
    ConflictError,
    Delete,
    Erase,
    Keep,
    Piece,
    Put,
    Span,
    Truncate,
)
from aigateway.state.redis import RedisStore
from tests.state.conftest import SHARED, StoreURL

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


def put(id: str, data: bytes = b"{}", *, kind: str = "response", **more: object) -> Put:
    return Put(kind=kind, id=id, data=data, created_at=time.time(), **more)  # type: ignore[arg-type]


def append(log: str, *names: str, at: int | None = None, expires_at: float | None = None) -> Append:
    entries = tuple((name, b'{"id":"%b"}' % name.encode()) for name in names)
    return Append(log=log, entries=entries, at=at, expires_at=expires_at)


async def names(store: ResponseStore, tenant: str, *spans: Span) -> list[str]:
    return [entry.name for entry in await store.entries(tenant, spans)]


# documents


async def test_document_is_read_back_with_its_version(store: ResponseStore, tenant: str) -> None:
    assert await store.document(tenant, "response", "r") is None
    await store.commit(tenant, [put("r", b"\x00\xffone")])
    await store.commit(tenant, [put("r", b"two")])
    found = await store.document(tenant, "response", "r")
    assert found is not None
    assert (found.id, found.data, found.version) == ("r", b"two", 2)
    assert abs(found.created_at - time.time()) < 60


async def test_another_tenant_or_kind_finds_nothing(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [put("r", listed=True), append("log", "item")])
    await store.write_journal(tenant, "r", Piece(0, 1, b"x"), expires_at=time.time() + 60)
    for other in ("", tenant + "x", f"{tenant}:response", f"{len(tenant)}.{tenant}"):
        assert await store.document(other, "response", "r") is None
        assert await store.documents(other, "response") == []
        assert await store.entries(other, [Span("log", 0, 9)]) == []
        assert await store.length(other, "log") == 0
        assert await store.named(other, ["item"]) == []
        assert await store.read_journal(other, "r", -1) == []
    assert await store.document(tenant, "conversation", "r") is None


async def test_two_ways_to_cut_a_key_are_two_keys(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [put("a:b", b"1", kind="c"), put("a", b"2", kind="c:b"), put("1.a", b"3", kind="c")])
    found = [await store.document(tenant, kind, name) for kind, name in (("c", "a:b"), ("c:b", "a"), ("c", "1.a"))]
    assert [document.data for document in found if document] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("expect", [0, 2])
async def test_condition_that_does_not_hold_writes_nothing_of_the_batch(
    store: ResponseStore, tenant: str, expect: int
) -> None:
    await store.commit(tenant, [put("r", b"one")])
    with pytest.raises(ConflictError):
        await store.commit(tenant, [put("other"), append("log", "a"), put("r", b"two", expect=expect)])
    assert await store.document(tenant, "response", "other") is None
    assert await store.length(tenant, "log") == 0
    found = await store.document(tenant, "response", "r")
    assert found is not None
    assert found.data == b"one"


async def test_of_two_who_write_on_the_same_version_one_wins(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [put("r", b"")])
    results = await asyncio.gather(
        *(store.commit(tenant, [put("r", b"%d" % number, expect=1)]) for number in range(8)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1
    assert all(isinstance(result, ConflictError) for result in results if result is not None)


@pytest.mark.parametrize("length", [1, 40])
async def test_names_in_redis_live_as_long_as_their_log(store_url: StoreURL, tenant: str, length: int) -> None:
    store = RedisStore(store_url("redis"))
    prefix = store._key("n", tenant)

    async def left(key: str) -> int:
        return int(await store._redis.pttl(key))

    try:
        now = time.time()
        names = [f"item{number}" for number in range(length)]
        await store.commit(
            tenant, [Append(log="log", entries=tuple((name, b"x") for name in names), expires_at=now + 60)]
        )
        for turn, later in enumerate((61.0, 100.0, 3600.0, 3601.0)):
            added = Append(log="log", entries=((f"turn{turn}", b"x"),), expires_at=now + later)
            await store.commit(tenant, [added])
            names.append(f"turn{turn}")
            log = await left(store._key("l", tenant, "log"))
            assert min([await left(f"{prefix}:{name}") for name in names]) >= log - 5
        await store.commit(tenant, [Keep(log="log", expires_at=now + 90_000)])
        assert await left(f"{prefix}:item0") > 89_000_000
        await store.commit(tenant, [Keep(log="log", expires_at=None)])
        assert {await left(f"{prefix}:{name}") for name in names} == {-1}
        await store.commit(tenant, [Append(log="log", entries=(("last", b"x"),), expires_at=now + 60)])
        assert 0 < await left(f"{prefix}:item0") < 120_000
        assert len(await store.named(tenant, [*names, "last"])) == len(names) + 1
    finally:
        await store.aclose()


async def test_deleted_document_is_gone_and_may_come_anew(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [put("r", listed=True)])
    with pytest.raises(ConflictError):
        await store.commit(tenant, [Delete(kind="response", id="r", expect=7)])
    await store.commit(tenant, [Delete(kind="response", id="r", expect=1), Delete(kind="response", id="never")])
    assert await store.document(tenant, "response", "r") is None
    assert await store.documents(tenant, "response") == []
    await store.commit(tenant, [put("r", b"anew", expect=0)])
    found = await store.document(tenant, "response", "r")
    assert found is not None
    assert found.version == 1


async def test_expired_document_is_as_good_as_gone(store: ResponseStore, tenant: str) -> None:
    over = time.time() - 1
    await store.commit(tenant, [put("r", expires_at=over, listed=True), put("s", expires_at=time.time() + 60)])
    assert await store.document(tenant, "response", "r") is None
    assert await store.documents(tenant, "response") == []
    assert await store.document(tenant, "response", "s") is not None
    await store.commit(tenant, [put("r", b"anew", expect=0)])
    found = await store.document(tenant, "response", "r")
    assert found is not None
    assert found.version == 1


async def test_listed_documents_come_in_pages_by_age(store: ResponseStore, tenant: str) -> None:
    for number in range(5):
        name, created = f"c{4 - number}", 1_700_000_000.5 + number
        await store.commit(tenant, [Put(kind="chat", id=name, data=b"", created_at=created, listed=True)])
    await store.commit(tenant, [put("hidden", kind="chat")])
    page = [document.id for document in await store.documents(tenant, "chat", limit=2)]
    assert page == ["c4", "c3"]
    assert [d.id for d in await store.documents(tenant, "chat", after="c3", limit=2)] == ["c2", "c1"]
    assert [d.id for d in await store.documents(tenant, "chat", after="c3", limit=9, descending=True)] == ["c4"]
    assert [d.id for d in await store.documents(tenant, "chat", descending=True)] == ["c0", "c1", "c2", "c3", "c4"]
    assert await store.documents(tenant, "chat", after="nobody") == []


# logs


async def test_spans_of_logs_are_read_in_the_order_asked_for(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [append("a", "a0", "a1", "a2"), append("b", "b0", "b1")])
    found = await store.entries(tenant, [Span("b", 1, 2), Span("a", 0, 2), Span("a", 1, 9), Span("none", 0, 3)])
    assert [(entry.log, entry.seq, entry.name) for entry in found] == [
        ("b", 1, "b1"),
        ("a", 0, "a0"),
        ("a", 1, "a1"),
        ("a", 1, "a1"),
        ("a", 2, "a2"),
    ]
    assert found[0].data == b'{"id":"b1"}'
    assert await store.entries(tenant, []) == []


async def test_append_goes_on_where_the_log_ends(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [append("log", "a", at=0)])
    await store.commit(tenant, [append("log", "b", at=1)])
    await store.commit(tenant, [append("log", "c")])
    for at in (0, 1, 7):
        with pytest.raises(ConflictError):
            await store.commit(tenant, [append("log", "x", at=at)])
    with pytest.raises(ConflictError):
        await store.commit(tenant, [append("none", "x", at=3)])
    assert await names(store, tenant, Span("log", 0, 9)) == ["a", "b", "c"]
    assert await store.length(tenant, "log") == 3


async def test_of_two_who_append_at_the_same_place_one_wins(store: ResponseStore, tenant: str) -> None:
    results = await asyncio.gather(
        *(store.commit(tenant, [append("log", f"{number}", at=0)]) for number in range(6)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1
    assert await store.length(tenant, "log") == 1


async def test_names_lead_to_their_newest_entry(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [append("a", "x", "y", "")])
    await store.commit(tenant, [append("b", "x")])
    found = {entry.name: (entry.log, entry.seq) for entry in await store.named(tenant, ["x", "y", "none", "x"])}
    assert found == {"x": ("b", 0), "y": ("a", 1)}
    assert await store.named(tenant, []) == []


async def test_erased_entry_leaves_its_place(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [append("log", "a", "b", "c")])
    await store.commit(tenant, [Erase(log="log", seq=1), Erase(log="none", seq=0)])
    found = await store.entries(tenant, [Span("log", 0, 9)])
    assert [(entry.seq, entry.name) for entry in found] == [(0, "a"), (1, ""), (2, "c")]
    assert found[1].data == b""
    assert await store.named(tenant, ["b"]) == []


async def test_truncated_log_goes_on_from_there(store: ResponseStore, tenant: str) -> None:
    await store.commit(tenant, [append("log", "a", "b", "c")])
    with pytest.raises(ConflictError):
        await store.commit(tenant, [Truncate(log="log", at=2, length=1)])
    await store.commit(tenant, [Truncate(log="log", at=3, length=1)])
    assert await store.named(tenant, ["b", "c"]) == []
    await store.commit(tenant, [append("log", "d", at=1)])
    assert await names(store, tenant, Span("log", 0, 9)) == ["a", "d"]
    await store.commit(tenant, [Truncate(log="log", at=2, length=0)])
    assert await names(store, tenant, Span("log", 0, 9)) == []
    assert await store.length(tenant, "log") == 0


async def test_expired_log_is_as_good_as_gone_unless_it_was_kept(store: ResponseStore, tenant: str) -> None:
    soon = time.time() + 0.3
    await store.commit(tenant, [append("a", "a", expires_at=soon), append("b", "b", expires_at=soon)])
    await store.commit(tenant, [Keep(log="b", expires_at=time.time() + 60)])
    await asyncio.sleep(soon + 0.02 - time.time())
    assert await names(store, tenant, Span("a", 0, 9), Span("b", 0, 9)) == ["b"]
    assert [entry.name for entry in await store.named(tenant, ["a"])] == []
    assert await store.length(tenant, "a") == 0
    await store.commit(tenant, [append("a", "anew", at=0)])
    assert await names(store, tenant, Span("a", 0, 9)) == ["anew"]


async def test_sweep_removes_what_has_expired_and_nothing_else(store: ResponseStore, tenant: str) -> None:
    over, later = time.time() - 1, time.time() + 60
    await store.commit(tenant, [put("r", expires_at=over), append("a", "a", expires_at=over)])
    await store.commit(tenant, [put("s", expires_at=later), append("b", "b", expires_at=later), put("t")])
    await store.write_journal(tenant, "r", Piece(0, 0, b""), expires_at=over)
    await store.write_journal(tenant, "s", Piece(0, 0, b""), expires_at=later)
    for _ in range(5):
        assert await store.sweep(1) <= 3
    while await store.sweep(1000):
        pass
    assert await store.document(tenant, "response", "s") is not None
    assert await store.document(tenant, "response", "t") is not None
    assert await names(store, tenant, Span("a", 0, 1), Span("b", 0, 1)) == ["b"]
    assert len(await store.read_journal(tenant, "s", -1)) == 1


# journals


async def test_journal_is_read_from_any_number_on(store: ResponseStore, tenant: str) -> None:
    until = time.time() + 60
    for piece in (Piece(0, 3, b"\x00first"), Piece(4, 4, b"second"), Piece(5, 9, b"third")):
        await store.write_journal(tenant, "r", piece, expires_at=until)
    await store.write_journal(tenant, "r", Piece(5, 9, b"again"), expires_at=until)
    assert [piece.data for piece in await store.read_journal(tenant, "r", -1)] == [b"\x00first", b"second", b"third"]
    assert await store.read_journal(tenant, "r", 3) == [Piece(4, 4, b"second"), Piece(5, 9, b"third")]
    assert [piece.first for piece in await store.read_journal(tenant, "r", 7)] == [5]
    assert await store.read_journal(tenant, "r", 9) == []
    await store.write_journal(tenant, "r", Piece(10, 10, b"fourth"), expires_at=until, drop_before=5)
    assert [piece.first for piece in await store.read_journal(tenant, "r", -1)] == [5, 10]
    await store.delete_journal(tenant, "r")
    assert await store.read_journal(tenant, "r", -1) == []


async def test_reader_of_a_journal_is_woken_by_its_writer(store: ResponseStore, tenant: str) -> None:
    waiting = [asyncio.ensure_future(store.read_journal(tenant, "r", -1, wait=30)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    await store.write_journal(tenant, "r", Piece(0, 0, b"x"), expires_at=time.time() + 60)
    assert await asyncio.gather(*waiting) == [[Piece(0, 0, b"x")]] * 3
    assert await store.read_journal(tenant, "r", 0, wait=0.01) == []


@pytest.mark.parametrize("backend", SHARED)
async def test_reader_is_woken_by_a_writer_of_another_process(backend: str, store_url: StoreURL, tenant: str) -> None:
    url = store_url(backend)
    here, there = open_store(url), open_store(url)
    waiting = asyncio.ensure_future(here.read_journal(tenant, "r", -1, wait=30))
    await there.write_journal(tenant, "r", Piece(0, 0, b"x"), expires_at=time.time() + 60)
    assert await waiting == [Piece(0, 0, b"x")]
    await here.aclose()
    await there.aclose()


async def test_two_processes_may_make_one_file_at_once(tmp_path: Path, tenant: str) -> None:
    for number in range(20):
        here, there = (open_store(f"sqlite:///{tmp_path}/{number}.db") for _ in range(2))
        await asyncio.gather(here.document(tenant, "response", "r"), there.commit(tenant, [put("r")]))
        assert await here.document(tenant, "response", "r") is not None
        await here.aclose()
        await there.aclose()


# leases


async def test_lease_has_one_owner_until_it_runs_out(store: ResponseStore, tenant: str) -> None:
    kind = f"run-{tenant}"
    claims = await asyncio.gather(*(store.claim(kind, tenant, "r", f"w{number}", 60) for number in range(6)))
    assert sum(claims) == 1
    owner = f"w{claims.index(True)}"
    assert await store.claim(kind, tenant, "r", owner, 60)
    assert await store.renew(kind, tenant, "r", owner, 60)
    assert not await store.renew(kind, tenant, "r", "other", 60)
    assert await store.run_out(kind) == []
    assert await store.renew(kind, tenant, "r", owner, -1)
    assert await store.run_out(kind) == [(tenant, "r")]
    assert await store.claim(kind, tenant, "r", "other", 60)
    assert not await store.renew(kind, tenant, "r", owner, 60)
    await store.release(kind, tenant, "r", owner)
    assert not await store.claim(kind, tenant, "r", owner, 60)
    await store.release(kind, tenant, "r")
    assert await store.claim(kind, tenant, "r", owner, 60)


async def test_given_back_lease_is_not_among_those_that_ran_out(store: ResponseStore, tenant: str) -> None:
    kind = f"run-{tenant}"
    for name in ("a", "b", "c"):
        await store.claim(kind, tenant, name, "w", -1)
    await store.release(kind, tenant, "b", "w")
    assert sorted(await store.run_out(kind)) == [(tenant, "a"), (tenant, "c")]
    assert len(await store.run_out(kind, 1)) == 1


# faults


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/at/all/state.db",
        "postgresql://nobody@/none?host=/nowhere",
        "redis://127.0.0.1:1/0",
    ],
    ids=SHARED,
)
async def test_store_that_is_not_there_is_a_clear_error(url: str) -> None:
    store = open_store(url)
    with pytest.raises(StoreUnavailableError) as raised:
        await store.ping()
    assert raised.value.status == 503
    with pytest.raises(StoreUnavailableError):
        await store.commit("t", [put("r")])
    await store.aclose()


async def test_full_disk_is_a_clear_error_and_what_was_written_stays(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/state.db")
    await store.commit("t", [put("r", b"small")])
    connection = store._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreUnavailableError):
        await store.commit("t", [put("big", b"x" * 1_000_000)])
    assert await store.document("t", "response", "big") is None
    assert await store.document("t", "response", "r") is not None
    await store.aclose()


async def test_file_is_for_its_owner_alone_and_outlives_the_store(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for number in range(2):
        store = open_store(f"sqlite:///{path}")
        await store.commit("t", [put(f"r{number}")])
        await store.aclose()
    assert path.stat().st_mode & 0o077 == 0
    store = open_store(f"sqlite:///{path}")
    assert await store.document("t", "response", "r0") is not None
    await store.aclose()


async def test_memory_stays_within_its_bound_and_drops_the_least_used() -> None:
    store = MemoryStore(max_bytes=100_000)
    await store.commit("t", [put("used", b"x" * 1000)])
    for number in range(500):
        await store.commit("t", [put(f"r{number}", b"x" * 1000), append(f"log{number}", f"i{number}")])
        assert await store.document("t", "response", "used") is not None
    assert store.size <= 100_000
    assert await store.document("t", "response", "r0") is None
    assert await store.named("t", ["i0"]) == []
    assert await store.document("t", "response", "r499") is not None


async def test_memory_forgets_what_has_expired_while_it_is_written_to() -> None:
    now = 1000.0
    store = MemoryStore(clock=lambda: now)
    await store.commit("t", [put("old", b"x" * 1000, expires_at=1010.0, listed=True)])
    await store.commit("t", [put("kept", b"x", listed=True)])
    full = store.size
    now = 1100.0
    await store.commit("t", [put("new", b"x")])
    assert store.size < full
    assert [document.id for document in await store.documents("t", "response")] == ["kept"]


async def test_listed_documents_of_memory_are_those_that_are_there() -> None:
    store = MemoryStore()
    for name in ("a", "b", "c"):
        await store.commit("t", [put(name, b"1", listed=True)])
    await store.commit("t", [put("a", b"2"), Delete(kind="response", id="b")])
    assert [document.id for document in await store.documents("t", "response")] == ["c"]
    await store.commit("t", [Delete(kind="response", id="c"), Delete(kind="response", id="a")])
    assert (store.size, store._listed) == (0, {})


# encryption


async def test_what_is_kept_cannot_be_read_without_the_key(store: ResponseStore, tenant: str) -> None:
    covered = EncryptedStore(store, [NEW])
    await covered.commit(tenant, [put("r", b"a secret"), append("log", "secret-item")])
    await covered.write_journal(tenant, "r", Piece(0, 0, b"a secret"), expires_at=time.time() + 60)
    raw = await store.document(tenant, "response", "r")
    (entry,) = await store.entries(tenant, [Span("log", 0, 1)])
    (piece,) = await store.read_journal(tenant, "r", -1)
    assert raw is not None
    assert b"secret" not in raw.data + entry.data + piece.data
    found = await covered.document(tenant, "response", "r")
    assert found is not None
    assert found.data == b"a secret"
    assert (await covered.entries(tenant, [Span("log", 0, 1)]))[0].data == b'{"id":"secret-item"}'
    assert (await covered.named(tenant, ["secret-item"]))[0].data == b'{"id":"secret-item"}'
    assert (await covered.read_journal(tenant, "r", -1))[0].data == b"a secret"
    await store.commit(tenant, [put("elsewhere", raw.data)])
    with pytest.raises(StoreUnavailableError):
        await covered.document(tenant, "response", "elsewhere")


async def test_new_key_encrypts_and_old_ones_still_decrypt(tenant: str) -> None:
    store = MemoryStore()
    await EncryptedStore(store, [OLD]).commit(tenant, [put("old", b"1")])
    both = EncryptedStore(store, [NEW, OLD])
    await both.commit(tenant, [put("new", b"2")])
    found = [await both.document(tenant, "response", name) for name in ("old", "new")]
    assert [document.data for document in found if document] == [b"1", b"2"]
    newest = EncryptedStore(store, [NEW])
    assert await newest.document(tenant, "response", "new") is not None
    with pytest.raises(StoreUnavailableError, match="key"):
        await newest.document(tenant, "response", "old")


@pytest.mark.parametrize("text", ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", OLD.hex(), " " + OLD.hex() + "\n"])
def test_key_is_32_bytes_in_base64_or_hexadecimal(text: str) -> None:
    assert key_of(text) == OLD


@pytest.mark.parametrize("text", ["", "short", "x" * 64, OLD.hex()[:-2]])
def test_other_keys_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        key_of(text)


@pytest.mark.parametrize(
    "url", ["", "mysql://x", "sqlite://x", "sqlite:///", "postgresql:///db", "redis://", "redis://h:x", "state.db"]
)
def test_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        open_store(url)


async def test_every_question_to_sqlite_has_an_index(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/state.db")
    await store.commit("t", [put("r", listed=True), append("log", "a", "b")])
    connection = store._connection  # type: ignore[attr-defined]
    now = time.time()
    steps = [
        sql.document("t", "k", "r", now),
        sql.documents("t", "k", None, 5, now, descending=True),
        sql.entries("t", [Span("log", 0, 2), Span("other", 0, 2)], now),
        sql.length("t", "log", now),
        sql.named("t", ["a", "b"], now),
        sql.read_journal("t", "r", -1, now),
        sql.run_out("run", 5, now),
        sql.sweep(5, now),
    ]
    for step in steps:
        text, bound = next(step)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", bound)]
        assert plan
        assert not [line for line in plan if line.startswith("SCAN") and "CONSTANT" not in line], (text, plan)
        assert "e.name IN" not in text or any("entries_name" in line for line in plan), plan
    await store.aclose()
