"""What one row of the surface says."""

from __future__ import annotations

from typing import Literal

import msgspec


class Operation(msgspec.Struct, frozen=True):
    """One method at one path: what is asked, and in which form.

    name      `chat`, `files.list`, `images.edits`, ...: names the operation in logs, hooks and metrics.
    api       the API it belongs to: what a provider must speak to be asked.
    path      below `version`, here and upstream; `{name}` stands for one segment, `{model}:verb` for the rest of it.
    method    the HTTP method.
    form      of the request's body: `json`, `multipart` (a few of these take JSON too), or `none`.
    kind      `generate`: understood, and translated where needed; `relay`: passed through; `count`: passed through, or
              estimated where nobody can be asked; `embed`: passed through, or asked in OpenAI's form; `served`: the gateway's own; `session`: a WebSocket, piped both ways.
    model     where a model is named: `model` or `session.model` (a field of the body), `?model` (the query), `{model}`
              (the path); "" where none is. The query counts too where the body is neither JSON nor a form.
    answer    `json`, or `binary`: bytes of any type that go on as they come.
    streams   whether the caller may ask for events.
    counts    whether a reply's usage is that of this call: that of an object looked up later was counted before.
    version   what stands before the path here: `/v1`, `/v1beta`.
    """

    name: str
    api: str
    path: str
    method: str = "POST"
    form: Literal["json", "multipart", "none"] = "json"
    kind: Literal["generate", "relay", "count", "embed", "served", "session"] = "relay"
    model: str = ""
    answer: Literal["json", "binary"] = "json"
    streams: bool = False
    counts: bool = False
    version: str = "/v1"

    @property
    def route(self) -> str:
        """Where it is found: the path, which for another version than `/v1` stands behind `/?` and that version."""
        return self.path if self.version == "/v1" else f"/?{self.version}{self.path}"

    @property
    def uploads(self) -> bool:
        """Whether its body goes on while it arrives: nobody needs to look inside, and it may be large."""
        return self.form == "multipart" and self.kind == "relay" and not self.model
