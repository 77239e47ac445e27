"""The list of models as each API shows it, page by page where the API has pages.

https://platform.claude.com/docs/en/api/models/list, https://ai.google.dev/api/models#method:-models.list
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from aigateway.errors import InvalidRequestError
from aigateway.models import Model

_MOST: Final = 1000
_ANTHROPICS: Final = 20
_GOOGLES: Final = 50
_METHODS: Final = ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")

Object = dict[str, Any]


def openai_list(models: Sequence[Model]) -> Object:
    """All of them: OpenAI's list has no pages."""
    return {"object": "list", "data": [openai_model(model, model.name) for model in models]}


def openai_model(model: Model, name: str) -> Object:
    """One model under the name it was asked for by."""
    return {"id": name, "object": "model", "created": model.created, "owned_by": model.owned_by}


def anthropic_list(models: Sequence[Model], query: str) -> Object:
    """The page that `limit` and `after_id` or `before_id` ask for. Raises InvalidRequestError.

    `has_more` is about the direction asked for: before the page where `before_id` stands, behind it elsewhere.
    """
    asked = _asked(query)
    limit = _size(asked, "limit", 1, _ANTHROPICS)
    if limit > _MOST:
        raise _invalid("limit", f"an integer from 1 to {_MOST}")
    after, before = asked.get("after_id"), asked.get("before_id")
    if after and before:
        raise InvalidRequestError("Only one of 'after_id' and 'before_id' may be given.", param="before_id")
    names = [model.name for model in models]
    start, end = 0, len(names)
    if after:
        start = _place(names, after, "after_id") + 1
    if before:
        end = _place(names, before, "before_id")
    has_more = end - start > limit
    start, end = (max(start, end - limit), end) if before else (start, min(end, start + limit))
    shown = [anthropic_model(model, model.name) for model in models[start:end]]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {"data": shown, "has_more": has_more, "first_id": first, "last_id": last}


def anthropic_model(model: Model, name: str) -> Object:
    """One model."""
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": created, "lifecycle": "active"}


def google_list(models: Sequence[Model], query: str) -> Object:
    """The page that `pageSize` and `pageToken` ask for; `nextPageToken` where there are more. Raises InvalidRequestError.

    A token stands for the last name of a page, and so holds when models come and go.
    """
    asked = _asked(query)
    size = min(_size(asked, "pageSize", 0, 0) or _GOOGLES, _MOST)
    last = _name_in(asked["pageToken"]) if asked.get("pageToken") else ""
    behind = [model for model in models if model.name > last]
    page: Object = {"models": [google_model(model.name) for model in behind[:size]]}
    return page | {"nextPageToken": _token(behind[size - 1].name)} if len(behind) > size else page


def google_model(name: str) -> Object:
    """One model."""
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": list(_METHODS)}


def _asked(query: str) -> Mapping[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _size(asked: Mapping[str, str], name: str, least: int, default: int) -> int:
    """How many are asked for, at least `least`. Raises InvalidRequestError for what is no such number."""
    text = asked.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:9]) >= least):
        raise _invalid(name, f"an integer from {least} to {_MOST}")
    return int(text[:9])


def _place(names: Sequence[str], name: str, param: str) -> int:
    if name not in names:
        raise InvalidRequestError(
            f"Invalid '{param}': no model that this key may use has that id.", param=param, code="invalid_value"
        )
    return names.index(name)


def _token(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_in(token: str) -> str:
    try:
        name = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        name = ""
    if _token(name) != token:
        raise _invalid("pageToken", "the 'nextPageToken' of the page before")
    return name


def _invalid(param: str, expected: str) -> InvalidRequestError:
    return InvalidRequestError(f"Invalid '{param}': expected {expected}.", param=param, code="invalid_value")
