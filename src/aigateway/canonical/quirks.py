"""Where the dialect of a host differs from OpenAI's own."""

from __future__ import annotations

import msgspec

REPAIRS = frozenset({"done", "empty_choices", "lines", "reasoning_content", "tool_call_type", "usage"})
"""What a chat host may do that breaks strict clients.

done               a stream ends without `[DONE]`: it is added.
empty_choices      chunks without choices that tell nothing else (Azure's first): what they carry goes on with the next.
lines              line ends other than LF, and comments: frames go on without them.
reasoning_content  reasoning is called `reasoning`: `reasoning_content` is put beside it.
tool_call_type     tool calls have no `type`: it is `function`.
usage              a chunk with only the usage, which nobody asked for: it is kept back.
"""


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of a host that translation keeps to. The defaults suit a host that nobody knows.

    max_tokens       the chat field for the output limit that the host reads.
    developer_role   takes the role `developer` (else it is sent as `system`).
    allowed_tools    takes `tool_choice: {type: allowed_tools}` on chat.
    stream_usage     takes `stream_options: {include_usage: true}`.
    strict_fields    refuses fields it does not know (so OpenAI-only extras are left out when translating).
    reasoning_field  the chat message field that carries reasoning, both ways; "" = takes none back.
    text_parts       takes several texts of one chat message as a list of parts (else they are joined by line feeds).
    json_schema      takes JSON Schema on generate_content (else it is sent as the subset of OpenAPI's).
    call_signatures  takes the signature of a call back, in `tool_calls[].extra_content` of chat.
    signed_reasoning  what becomes of the `reasoning_details` and signatures of calls that a chat request brings back: `taken`
                     (OpenRouter's way: what its model's own maker signed goes back, that of others does not), `refused`
                     (taken out), "" = they are sent as the caller sent them.
    custom_tools     takes tools of type `custom` on chat (else they are sent as functions of one text).
    keeps_responses  keeps the responses it made, and goes on from their ids (`previous_response_id`).
    threads          holds conversations of Messages (`thread`), so that a caller sends only what is new.
    origin           whose encrypted reasoning its Responses hold: what hosts of one name made, each of them takes back. "" =
                     the host's own, as soon as there are several; `openai` is what api.openai.com makes.
    repairs          what of its chat replies is put right on the way to a chat caller; names of REPAIRS.
    """

    max_tokens: str = "max_tokens"
    developer_role: bool = False
    allowed_tools: bool = False
    stream_usage: bool = True
    strict_fields: bool = False
    reasoning_field: str = "reasoning_content"
    text_parts: bool = True
    custom_tools: bool = False
    keeps_responses: bool = False
    call_signatures: bool = False
    signed_reasoning: str = ""
    origin: str = ""
    threads: bool = False
    json_schema: bool = True
    repairs: frozenset[str] = frozenset()
