"""State in Redis, shared by any number of machines; everything has its time to live. Needs the extra `redis`.

A batch is one script, so that all of it happens or nothing; journals are Redis Streams, which readers wait on.
Times to live are Redis's own: nothing needs to be swept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from aigateway.state.protocol import (
    Append,
    ConflictError,
    Delete,
    Document,
    Entry,
    Erase,
    Operation,
    Piece,
    Put,
    Span,
    StoreUnavailableError,
    Truncate,
)

logger = logging.getLogger("aigateway")

T = TypeVar("T")

_BLOCK: Final = 1.0  # seconds for which one question waits; longer waits are several
_LISTED: Final = 500

_COMMIT: Final = """
local operations = cmsgpack.unpack(ARGV[1])
for _, o in ipairs(operations) do
  if o.op == 'put' or o.op == 'delete' then
    if o.expect then
      if (tonumber(redis.call('HGET', o.key, 'v')) or 0) ~= o.expect then return 0 end
    end
  elseif o.at then
    if redis.call('LLEN', o.key) ~= o.at then return 0 end
  end
end
local function live(key, px)
  if px then redis.call('PEXPIREAT', key, px) else redis.call('PERSIST', key) end
end
local function name_of(packed)
  local size, at = string.match(packed, '^(%d+):()')
  return string.sub(packed, at, at + size - 1)
end
local function forget(o, packed, seq)
  local name = name_of(packed)
  if name ~= '' and redis.call('GET', o.names .. name) == seq .. ' ' .. o.log then
    redis.call('DEL', o.names .. name)
  end
end
-- Names live as long as their log, or longer: half a lifetime more is given to all of them, so that few turns have to.
local function names_until(o)
  local marker = o.key .. ':names'
  local known = redis.call('GET', marker)
  if o.px == nil and not known then return nil end
  if o.px and known and tonumber(known) >= o.px then return tonumber(known) end
  local till = o.px and o.px + math.floor(math.max(0, o.px - o.now) / 2)
  for at, packed in ipairs(redis.call('LRANGE', o.key, 0, -1)) do
    local name = name_of(packed)
    if name ~= '' and redis.call('GET', o.names .. name) == (at - 1) .. ' ' .. o.log then live(o.names .. name, till) end
  end
  if till then redis.call('SET', marker, string.format('%.0f', till), 'PXAT', till) else redis.call('DEL', marker) end
  return till
end
for _, o in ipairs(operations) do
  if o.op == 'put' then
    local version = (tonumber(redis.call('HGET', o.key, 'v')) or 0) + 1
    if version == 1 then redis.call('HSET', o.key, 'c', o.created) end
    redis.call('HSET', o.key, 'v', version, 'x', o.expires, 'd', ARGV[o.data])
    live(o.key, o.px)
    if o.index then redis.call('ZADD', o.index, 'NX', o.created, o.id) end
  elseif o.op == 'delete' then
    redis.call('DEL', o.key)
    redis.call('ZREM', o.index, o.id)
  elseif o.op == 'append' then
    local seq = redis.call('LLEN', o.key)
    local till = names_until(o)
    for _, entry in ipairs(o.entries) do
      redis.call('RPUSH', o.key, ARGV[entry[2]])
      if entry[1] ~= '' then
        redis.call('SET', o.names .. entry[1], seq .. ' ' .. o.log)
        live(o.names .. entry[1], till)
      end
      seq = seq + 1
    end
    live(o.key, o.px)
  elseif o.op == 'truncate' then
    local gone = redis.call('LRANGE', o.key, o.length, -1)
    for at, packed in ipairs(gone) do forget(o, packed, o.length + at - 1) end
    if o.length == 0 then redis.call('DEL', o.key, o.key .. ':names') else redis.call('LTRIM', o.key, 0, o.length - 1) end
  elseif o.op == 'erase' then
    local packed = redis.call('LINDEX', o.key, o.seq)
    if packed then
      forget(o, packed, o.seq)
      redis.call('LSET', o.key, o.seq, '0:')
    end
  else
    names_until(o)
    live(o.key, o.px)
  end
end
return 1
"""

_CLAIM: Final = """
local owner = redis.call('HGET', KEYS[2], ARGV[1])
if owner and owner ~= ARGV[2] and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) > tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[4], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"""
_RENEW: Final = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
"""
_RELEASE: Final = """
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
"""


class RedisStore:
    """A ResponseStore in Redis (6.2 or newer, not a cluster).

    url     redis://[:password@]host:port/database, rediss:// for TLS, or unix:// and the path of a socket.
    prefix  of every key.
    clock   Unix seconds; Redis's own times to live follow its own.
    """

    name = "redis"
    shared = True

    def __init__(self, url: str, *, prefix: str = "aigateway", clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._prefix = prefix
        self._clock = clock
        self._client: Redis | None = None

    @property
    def _redis(self) -> Any:
        if self._client is None:
            self._client = Redis.from_url(self._url, max_connections=10_000)
        return self._client

    async def _asked(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except (RedisError, OSError, TimeoutError) as error:
            logger.error("the store of state in Redis failed: %s", type(error).__name__)  # noqa: TRY400 - its text may hold data
            raise StoreUnavailableError from error

    def _key(self, sort: str, tenant: str, *names: str) -> str:
        """Tenants and names may hold anything: their lengths stand before them, so no two keys are one."""
        return ":".join([self._prefix, sort, *(f"{len(name)}.{name}" for name in (tenant, *names))])

    # documents

    async def document(self, tenant: str, kind: str, id: str) -> Document | None:
        """See ResponseStore."""
        raw = await self._asked(self._redis.hmget(self._key("d", tenant, kind, id), "d", "v", "c", "x"))
        return self._document(id, raw)

    def _document(self, id: str, raw: Sequence[bytes | None]) -> Document | None:
        data, version, created, expires = raw
        if data is None or version is None or created is None:
            return None
        expires_at = float(expires) if expires else None
        if expires_at is not None and expires_at <= self._clock():
            return None
        return Document(id, data, int(version), float(created), expires_at)

    async def documents(
        self, tenant: str, kind: str, *, after: str | None = None, limit: int = 20, descending: bool = False
    ) -> list[Document]:
        """See ResponseStore."""
        index = self._key("i", tenant, kind)
        start = 0
        if after is not None:
            if await self.document(tenant, kind, after) is None:
                return []
            rank = await self._asked(
                self._redis.zrevrank(index, after) if descending else self._redis.zrank(index, after)
            )
            if rank is None:
                return []
            start = rank + 1
        found: list[Document] = []
        while len(found) < limit:
            page = min(limit - len(found), _LISTED)
            ids = await self._asked(self._redis.zrange(index, start, start + page - 1, desc=descending))
            if not ids:
                break
            pipe = self._redis.pipeline(transaction=False)
            for found_id in ids:
                pipe.hmget(self._key("d", tenant, kind, found_id.decode()), "d", "v", "c", "x")
            gone = []
            for found_id, raw in zip(ids, await self._asked(pipe.execute()), strict=True):
                document = self._document(found_id.decode(), raw)
                if document is None:
                    gone.append(found_id)
                else:
                    found.append(document)
            if gone:
                await self._asked(self._redis.zrem(index, *gone))
            start += len(ids) - len(gone)
        return found

    # writing

    async def commit(self, tenant: str, operations: Sequence[Operation]) -> None:
        """See ResponseStore."""
        blobs: list[bytes] = []
        packed = msgspec.msgpack.encode([self._told(tenant, operation, blobs) for operation in operations])
        if not await self._asked(self._redis.eval(_COMMIT, 0, packed, *blobs)):
            raise ConflictError

    def _told(self, tenant: str, operation: Operation, blobs: list[bytes]) -> dict[str, Any]:
        """The operation for the script. Bytes stand behind it, for a script knows no other way to get any."""
        if isinstance(operation, Put | Delete):
            told: dict[str, Any] = {
                "key": self._key("d", tenant, operation.kind, operation.id),
                "index": self._key("i", tenant, operation.kind),
                "id": operation.id,
            }
            if operation.expect is not None:
                told["expect"] = operation.expect
            if isinstance(operation, Delete):
                return told | {"op": "delete"}
            if not operation.listed:
                del told["index"]
            blobs.append(operation.data)
            told |= {"op": "put", "data": len(blobs) + 1, "created": repr(operation.created_at)}
            return told | {"expires": repr(operation.expires_at or "").strip("'")} | _px(operation.expires_at)
        told = {
            "key": self._key("l", tenant, operation.log),
            "log": operation.log,
            "names": self._key("n", tenant) + ":",
            "now": int(self._clock() * 1000),
        }
        if isinstance(operation, Append):
            first = len(blobs) + 2
            blobs += [_packed(name, data) for name, data in operation.entries]
            told |= {"op": "append", "entries": [(name, at) for at, (name, _) in enumerate(operation.entries, first)]}
            told |= {} if operation.at is None else {"at": operation.at}
            return told | _px(operation.expires_at)
        if isinstance(operation, Truncate):
            return told | {"op": "truncate", "at": operation.at, "length": operation.length}
        if isinstance(operation, Erase):
            return told | {"op": "erase", "seq": operation.seq}
        return told | {"op": "keep"} | _px(operation.expires_at)

    # logs

    async def entries(self, tenant: str, spans: Sequence[Span]) -> list[Entry]:
        """See ResponseStore."""
        wanted = [span for span in spans if span.start < span.end]
        if not wanted:
            return []
        pipe = self._redis.pipeline(transaction=False)
        for span in wanted:
            pipe.lrange(self._key("l", tenant, span.log), span.start, span.end - 1)
        found = []
        for span, raw in zip(wanted, await self._asked(pipe.execute()), strict=True):
            found += [_entry(span.log, seq, packed) for seq, packed in enumerate(raw, span.start)]
        return found

    async def length(self, tenant: str, log: str) -> int:
        """See ResponseStore."""
        return cast("int", await self._asked(self._redis.llen(self._key("l", tenant, log))))

    async def named(self, tenant: str, names: Sequence[str]) -> list[Entry]:
        """See ResponseStore."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return []
        prefix = self._key("n", tenant) + ":"
        places = [
            place.decode().partition(" ")
            for place in await self._asked(self._redis.mget([prefix + name for name in wanted]))
            if place
        ]
        spans = [Span(log, int(seq), int(seq) + 1) for seq, _, log in places]
        return [entry for entry in await self.entries(tenant, spans) if entry.name]

    # journals

    async def write_journal(
        self, tenant: str, id: str, piece: Piece, *, expires_at: float, drop_before: int | None = None
    ) -> None:
        """See ResponseStore."""
        key = self._key("j", tenant, id)
        pipe = self._redis.pipeline(transaction=False)
        pipe.xadd(key, {"f": piece.first, "d": piece.data}, id=f"{piece.last + 1}-0")
        pipe.pexpireat(key, int(expires_at * 1000))
        if drop_before is not None:
            pipe.xtrim(key, minid=f"{drop_before + 1}-0", approximate=False)
        added, *_ = await self._asked(pipe.execute(raise_on_error=False))
        if isinstance(added, ResponseError):
            return  # these numbers are there already
        if isinstance(added, RedisError):
            raise StoreUnavailableError from added

    async def read_journal(self, tenant: str, id: str, after: int, *, wait: float = 0.0) -> list[Piece]:
        """See ResponseStore."""
        key, place = self._key("j", tenant, id), f"{after + 1}-0"
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            left = end - loop.time()
            block = max(1, int(min(left, _BLOCK) * 1000)) if left > 0 else None
            found = await self._asked(self._redis.xread({key: place}, block=block))
            if found:
                return [
                    Piece(int(fields[b"f"]), int(number.partition(b"-")[0]) - 1, fields[b"d"])
                    for number, fields in _read(found)
                ]
            if left <= 0:
                return []

    async def delete_journal(self, tenant: str, id: str) -> None:
        """See ResponseStore."""
        await self._asked(self._redis.delete(self._key("j", tenant, id)))

    # leases

    async def claim(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        now = self._clock()
        return await self._lease(_CLAIM, kind, tenant, id, owner, repr(now), repr(now + seconds))

    async def renew(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        return await self._lease(_RENEW, kind, tenant, id, owner, repr(self._clock() + seconds))

    async def release(self, kind: str, tenant: str, id: str, owner: str | None = None) -> None:
        """See ResponseStore."""
        await self._lease(_RELEASE, kind, tenant, id, owner or "")

    async def _lease(self, script: str, kind: str, tenant: str, id: str, *arguments: str) -> bool:
        keys = (f"{self._prefix}:leases:{kind}", f"{self._prefix}:owners:{kind}")
        member = msgspec.json.encode([tenant, id])
        return bool(await self._asked(self._redis.eval(script, 2, *keys, member, *arguments)))

    async def run_out(self, kind: str, limit: int = 10) -> list[tuple[str, str]]:
        """See ResponseStore."""
        found = await self._asked(
            self._redis.zrangebyscore(f"{self._prefix}:leases:{kind}", 0, repr(self._clock()), start=0, num=limit)
        )
        return [tuple(msgspec.json.decode(member)) for member in found]

    # the rest

    async def sweep(self, limit: int = 1000) -> int:
        """See ResponseStore."""
        return 0

    async def ping(self) -> None:
        """See ResponseStore."""
        await self._asked(self._redis.ping())

    async def aclose(self) -> None:
        """See ResponseStore."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _px(expires_at: float | None) -> dict[str, int]:
    return {} if expires_at is None else {"px": int(expires_at * 1000)}


def _packed(name: str, data: bytes) -> bytes:
    """An entry as it stands in a list: `6:msg_12{...}`."""
    raw = name.encode()
    return b"%d:%b%b" % (len(raw), raw, data)


def _entry(log: str, seq: int, packed: bytes) -> Entry:
    size, _, rest = packed.partition(b":")
    return Entry(log, seq, rest[: int(size)].decode(), rest[int(size) :])


def _read(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream, however this version of the client shows them."""
    if isinstance(found, dict):
        (streams,) = found.values()
        return cast(
            "list[tuple[bytes, dict[bytes, bytes]]]",
            streams[0] if streams and isinstance(streams[0], list) else streams,
        )
    return cast("list[tuple[bytes, dict[bytes, bytes]]]", found[0][1])
