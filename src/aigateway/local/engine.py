"""llama.cpp in this process: how it is set up, started, and reached.

`xllamacpp` runs llama.cpp's own server on threads of this process. Its in-process handlers drop the HTTP status and
cannot stop a reply that does not stream, and the listener is opened whether it is used or not. So the listener is
used: on a Unix socket in a folder that only this user may enter (on Windows: a loopback port), behind a random key.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from aigateway.local.model_file import LocalModelError
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import Pool, Transport

SLOTS = 4  # sequences that llama.cpp works on at once
_CONTEXT = 16_384  # tokens that all slots share; one sequence has at most what the model was trained on
_BATCH = 512  # tokens in one step: the longest embedding input, and how long a cancelled prompt still runs


class Engine:
    """A loaded model that answers HTTP on a private listener, from construction until `close()`.

    Construction takes about a second in which Python stands still: `xllamacpp` loads while it holds the GIL.
    Raises LocalModelError when `xllamacpp` is not installed or cannot load the file.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._key = secrets.token_hex(32)
        self._folder = tempfile.TemporaryDirectory(prefix="aigateway-", ignore_cleanup_errors=True)
        self._socket = str(Path(self._folder.name) / "llama.sock")
        try:
            self._server = self._start(path, name)
        except BaseException:
            self._folder.cleanup()
            raise

    @property
    def url(self) -> str:
        """Where llama.cpp answers."""
        return str(self._server.listening_address) if sys.platform == "win32" else "http://localhost"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What a request needs to be let in."""
        return [("authorization", f"Bearer {self._key}"), ("content-type", "application/json")]

    def transport(self) -> Transport:
        """What reaches it. One connection for each request, closed after it: an idle one would hold a thread of llama.cpp."""
        socket = None if sys.platform == "win32" else self._socket
        return PooledTransport(Pool(keepalive=0), proxy="none", socket=socket)

    def close(self) -> None:
        """Stop llama.cpp and give its memory back. Close its transport first: llama.cpp waits for their threads."""
        self._server = None
        self._folder.cleanup()

    def _start(self, path: Path, name: str) -> Any:
        try:
            import xllamacpp  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise LocalModelError(
                "The local model needs xllamacpp, which is not installed: pip install 'aigateway[local]'."
            ) from error
        try:
            return xllamacpp.Server(self._params(xllamacpp, path, name))
        except RuntimeError as error:
            raise LocalModelError(
                "llama.cpp could not load the local model: there is too little memory, or its file is damaged "
                "(then delete it, and it is fetched again)."
            ) from error

    def _params(self, xllamacpp: Any, path: Path, name: str) -> Any:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.model_alias = {name}
        params.verbosity = -1  # not a line on stderr
        params.api_keys = [self._key]
        if sys.platform != "win32":
            params.hostnames = [self._socket]
        params.n_parallel, params.n_ctx, params.kv_unified = SLOTS, _CONTEXT, True
        params.n_threads_http = SLOTS + 2
        # Chat and embeddings from one context: pooling touches only requests that ask for embeddings.
        params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_batch = params.n_ubatch = _BATCH
        # llama.cpp's threads spin while they wait for each other: without a core to spare they get ten times slower.
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 2) - 1)
        params.cache_ram_mib = 0  # else finished prompts are kept in memory, up to 8 GiB
        params.fit_params = params.ui = params.endpoint_slots = False
        return params
