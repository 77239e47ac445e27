"""The contents of generateContent requests for an upstream that speaks chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, changed, dropped

ROWS: tuple[Row, ...] = (
    *all_carried(
        {
            "contents[].parts[].fileData.displayName": "messages[user].content[file].file.filename",
            "contents[].parts[].fileData.fileUri": "messages[user].content[image_url].image_url.url",
            "contents[].parts[].functionCall.id": "messages[assistant].tool_calls[function].id",
            "contents[].parts[].functionCall.name": "messages[assistant].tool_calls[function].function.name",
            "contents[].parts[].functionResponse.id": "messages[tool].tool_call_id",
            "contents[].parts[].functionResponse.parts[].fileData.fileUri": "messages[user].content[image_url].image_url.url",
            "contents[].parts[].inlineData.displayName": "messages[user].content[file].file.filename",
            "contents[].parts[].text": "messages[user].content",
        }
    ),
    changed(
        "contents[].parts[].functionCall.args",
        "messages[assistant].tool_calls[function].function.arguments",
        "An object here, a JSON text there.",
        result='{"a":"args"}',
    ),
    changed(
        "contents[].parts[].functionResponse.parts[].inlineData.data",
        "messages[user].content[image_url].image_url.url",
        "A data URL, in a message behind the tool's.",
        result="data:image/png;base64,SGk=",
        code="changed:input",
    ),
    changed(
        "contents[].parts[].functionResponse.parts[].inlineData.mimeType",
        "messages[user].content[image_url].image_url.url",
        "A data URL, in a message behind the tool's.",
        result="data:image/png;base64,SGk=",
    ),
    changed(
        "contents[].parts[].functionResponse.response",
        "messages[tool].content",
        "An object here, a text there; `output` and `error` alone are their texts.",
        result='{"temperature":7}',
    ),
    changed(
        "contents[].parts[].inlineData.data",
        "messages[user].content[image_url].image_url.url",
        "A data URL; by its type an image, a file, or audio.",
        result="data:image/png;base64,SGk=",
    ),
    changed(
        "contents[].parts[].inlineData.mimeType",
        "messages[user].content[image_url].image_url.url",
        "A data URL; by its type an image, a file, or audio.",
        result="data:image/png;base64,SGk=",
    ),
    changed(
        "contents[].parts[].thought",
        "messages[assistant].reasoning_content",
        "A thought is reasoning.",
        result="Hello.",
    ),
    changed(
        "contents[].role", "messages[assistant].content", "model is the assistant, all else the user.", result="Hi."
    ),
    *all_dropped(
        "Chat has none.",
        code="dropped:{key}",
        whole=True,
        paths=(
            "contents[].parts[].audioMetadata",
            "contents[].parts[].audioTranscription",
            "contents[].parts[].documentMetadata",
            "contents[].parts[].functionCall.partialArgs",
            "contents[].parts[].functionResponse.parts[].audioMetadata",
            "contents[].parts[].functionResponse.parts[].documentMetadata",
            "contents[].parts[].functionResponse.parts[].mediaResolution",
            "contents[].parts[].functionResponse.parts[].spreadsheetMetadata",
            "contents[].parts[].functionResponse.parts[].videoMetadata",
            "contents[].parts[].mediaResolution",
            "contents[].parts[].speechMetadata",
            "contents[].parts[].spreadsheetMetadata",
            "contents[].parts[].videoMetadata",
        ),
    ),
    *all_dropped(
        "It records what a hosted tool did: what the model made of it stands in the texts behind.",
        code="dropped:input",
        whole=True,
        paths=(
            "contents[].parts[].codeExecutionResult",
            "contents[].parts[].executableCode",
            "contents[].parts[].toolCall",
            "contents[].parts[].toolResponse",
        ),
    ),
    *all_dropped(
        "An address has no type beside it.",
        code="dropped:{key}",
        paths=(
            "contents[].parts[].fileData.mimeType",
            "contents[].parts[].functionResponse.parts[].fileData.mimeType",
        ),
    ),
    *all_dropped(
        "Chat has none.",
        code="dropped:{key}",
        paths=(
            "contents[].parts[].functionCall.willContinue",
            "contents[].parts[].functionResponse.parts[].fileData.displayName",
            "contents[].parts[].functionResponse.parts[].inlineData.displayName",
            "contents[].parts[].functionResponse.parts[].mediaProcessing",
            "contents[].parts[].functionResponse.scheduling",
            "contents[].parts[].functionResponse.willContinue",
            "contents[].parts[].mediaProcessing",
            "contents[].parts[].partMetadata",
        ),
    ),
    dropped("contents[].parts[].functionResponse.name", "The id tells which call it answers."),
    dropped(
        "contents[].parts[].thoughtSignature",
        "Only its maker takes back what it has signed: a thought, or a call.",
        "dropped:reasoning.signature, dropped:tool_calls.signature",
    ),
)
