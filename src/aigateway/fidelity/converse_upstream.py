"""Chat requests for an upstream that speaks Converse."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, carried, changed, dropped, refused

ROWS: tuple[Row, ...] = (
    *all_carried(
        {
            "functions[].description": "toolConfig.tools[].toolSpec.description",
            "functions[].name": "toolConfig.tools[].toolSpec.name",
            "functions[].parameters": "toolConfig.tools[].toolSpec.inputSchema.json",
            "max_completion_tokens": "inferenceConfig.maxTokens",
            "max_tokens": "inferenceConfig.maxTokens",
            "messages[assistant].content[refusal].refusal": "messages[assistant].content[].text",
            "messages[assistant].content[text].text": "messages[assistant].content[].text",
            "messages[assistant].function_call.name": "messages[assistant].content[].toolUse.name",
            "messages[assistant].refusal": "messages[assistant].content[].text",
            "messages[assistant].tool_calls[custom].custom.input": "messages[assistant].content[].toolUse.input.input",
            "messages[assistant].tool_calls[custom].custom.name": "messages[assistant].content[].toolUse.name",
            "messages[assistant].tool_calls[custom].id": "messages[assistant].content[].toolUse.toolUseId",
            "messages[assistant].tool_calls[function].function.name": "messages[assistant].content[].toolUse.name",
            "messages[assistant].tool_calls[function].id": "messages[assistant].content[].toolUse.toolUseId",
            "messages[function].content": "messages[user].content[].toolResult.content[].text",
            "messages[tool].content[text].text": "messages[user].content[].toolResult.content[].text",
            "messages[tool].tool_call_id": "messages[user].content[].toolResult.toolUseId",
            "messages[user].content[input_audio].input_audio.data": "messages[user].content[].audio.source.bytes",
            "messages[user].content[input_audio].input_audio.format": "messages[user].content[].audio.format",
            "messages[user].content[text].text": "messages[user].content[].text",
            "response_format(json_schema).json_schema.description": "outputConfig.textFormat.structure.jsonSchema.description",
            "response_format(json_schema).json_schema.name": "outputConfig.textFormat.structure.jsonSchema.name",
            "stop": "inferenceConfig.stopSequences",
            "temperature": "inferenceConfig.temperature",
            "tool_choice(custom).custom.name": "toolConfig.toolChoice.tool.name",
            "tool_choice(function).function.name": "toolConfig.toolChoice.tool.name",
            "tools[custom].custom.name": "toolConfig.tools[].toolSpec.name",
            "tools[function].function.description": "toolConfig.tools[].toolSpec.description",
            "tools[function].function.name": "toolConfig.tools[].toolSpec.name",
            "tools[function].function.parameters": "toolConfig.tools[].toolSpec.inputSchema.json",
            "tools[function].function.strict": "toolConfig.tools[].toolSpec.strict",
            "top_p": "inferenceConfig.topP",
        }
    ),
    changed(
        "function_call", "toolConfig.toolChoice.tool.name", "The older name of `tool_choice`.", result="f", whole=True
    ),
    changed(
        "messages[assistant].content",
        "messages[assistant].content[].text",
        "A string becomes one block.",
        result="Said.",
    ),
    changed(
        "messages[assistant].function_call.arguments",
        "messages[assistant].content[].toolUse.input",
        "An object there.",
        result={},
    ),
    changed(
        "messages[assistant].tool_calls[function].function.arguments",
        "messages[assistant].content[].toolUse.input",
        "An object there; what is none stands in one (`changed:tool_calls.arguments`).",
        result={},
    ),
    carried(
        "messages[developer].content[text].text",
        "messages[user].content[].text",
        "At the head of a conversation it is `system`; behind it the user's words (`changed:messages`).",
    ),
    changed(
        "messages[function].name",
        "messages[user].content[].toolResult.toolUseId",
        "The id that was made up for the call of that name.",
        result="call_function_0",
    ),
    carried(
        "messages[system].content[text].text",
        "messages[user].content[].text",
        "At the head of a conversation it is `system`; behind it the user's words (`changed:messages`).",
    ),
    changed(
        "messages[tool].content",
        "messages[user].content[].toolResult.content[].text",
        "A string becomes one block.",
        result="42",
        example="42",
    ),
    changed("messages[user].content", "messages[user].content[].text", "A string becomes one block.", result="Hello."),
    changed(
        "messages[user].content[file].file.file_data",
        "messages[user].content[].document.source.bytes",
        "The data URL taken apart.",
        result="SGk=",
    ),
    changed(
        "messages[user].content[file].file.filename",
        "messages[user].content[].document.name",
        "Without its ending, and only with the signs that Bedrock takes.",
        result="a",
    ),
    changed(
        "messages[user].content[image_url].image_url.url",
        "messages[user].content[].image.source.bytes",
        "A data URL taken apart, or an address in S3; other addresses are refused.",
        result="AA==",
    ),
    carried(
        "metadata",
        "requestMetadata",
        "Sixteen entries of the signs that Bedrock takes; the rest is listed as `dropped:metadata`.",
    ),
    changed(
        "reasoning_effort",
        "additionalModelRequestFields.thinking.type",
        "In the words of the model's maker: an effort for Claude from 4.6 on, before it a budget of tokens. Others are told in `reasoning_effort` or `reasoningConfig`, or not at all (`dropped:reasoning_effort`).",
        result="adaptive",
    ),
    changed(
        "response_format(json_schema).json_schema.schema",
        "outputConfig.textFormat.structure.jsonSchema.schema",
        "A JSON text.",
        result='{"type":"object","properties":{}}',
    ),
    carried(
        "service_tier",
        "serviceTier.type",
        "default, flex, priority; `auto` says nothing, others are listed as `dropped:service_tier`.",
    ),
    changed(
        "tool_choice",
        "toolConfig.toolChoice.any",
        "`required` is `any`; of `none` the tools are left out where they can be (`changed:tool_choice`).",
        result={},
    ),
    changed(
        "tool_choice(allowed_tools)",
        "toolConfig.tools[].toolSpec.name",
        "Only the allowed tools are sent.",
        result="f",
        code="changed:tool_choice",
        whole=True,
    ),
    changed(
        "tools[custom].custom.description",
        "toolConfig.tools[].toolSpec.description",
        "A function with one text, `input`; the grammar is told in its description.",
        result="runs\n\nThe input must match this lark grammar:\nstart: /.+/",
    ),
    changed(
        "tools[custom].custom.format(grammar).grammar.definition",
        "toolConfig.tools[].toolSpec.description",
        "A function with one text, `input`; the grammar is told in its description.",
        result="runs\n\nThe input must match this lark grammar:\nstart: /.+/",
    ),
    changed(
        "tools[custom].custom.format(grammar).grammar.syntax",
        "toolConfig.tools[].toolSpec.description",
        "A function with one text, `input`; the grammar is told in its description.",
        result="runs\n\nThe input must match this lark grammar:\nstart: /.+/",
    ),
    *all_dropped(
        "Converse has none.",
        code="dropped:{key}",
        whole=True,
        paths=(
            "audio",
            "moderation",
            "prediction",
            "prompt_cache_options",
        ),
    ),
    *all_dropped(
        "Converse has none.",
        code="dropped:{key}",
        paths=(
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "parallel_tool_calls",
            "presence_penalty",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "seed",
            "store",
            "top_logprobs",
            "user",
            "verbosity",
        ),
    ),
    *all_dropped(
        "A breakpoint of this API is always one that was asked for.",
        paths=(
            "messages[assistant].content[text].prompt_cache_breakpoint.mode",
            "messages[developer].content[text].prompt_cache_breakpoint.mode",
            "messages[system].content[text].prompt_cache_breakpoint.mode",
            "messages[user].content[text].prompt_cache_breakpoint.mode",
        ),
    ),
    *all_dropped(
        "Bedrock keeps a prompt for 5 minutes or an hour.",
        code="dropped:prompt_cache_breakpoint.ttl",
        paths=(
            "messages[assistant].content[text].prompt_cache_breakpoint.ttl",
            "messages[developer].content[text].prompt_cache_breakpoint.ttl",
            "messages[system].content[text].prompt_cache_breakpoint.ttl",
            "messages[user].content[file].prompt_cache_breakpoint.ttl",
            "messages[user].content[image_url].prompt_cache_breakpoint.ttl",
            "messages[user].content[text].prompt_cache_breakpoint.ttl",
        ),
    ),
    *all_dropped(
        "Converse has no name of a message.",
        code="dropped:{key}",
        paths=(
            "messages[assistant].name",
            "messages[developer].name",
            "messages[system].name",
            "messages[user].name",
        ),
    ),
    dropped(
        "messages[tool].content[text].prompt_cache_breakpoint",
        "Converse has no cache points in the result of a tool.",
        "dropped:prompt_cache_breakpoint",
        whole=True,
    ),
    *all_dropped(
        "A cache point of Converse is always one that was asked for.",
        paths=(
            "messages[user].content[file].prompt_cache_breakpoint.mode",
            "messages[user].content[image_url].prompt_cache_breakpoint.mode",
        ),
    ),
    dropped(
        "messages[user].content[image_url].image_url.detail",
        "Converse has no detail of images.",
        "dropped:image.detail",
    ),
    dropped(
        "messages[user].content[input_audio].prompt_cache_breakpoint",
        "Audio has no marks of what to cache there.",
        "dropped:prompt_cache_breakpoint",
        whole=True,
    ),
    dropped("model", "The path that is asked names the upstream's."),
    dropped(
        "response_format(json_object)",
        "Converse has no output format json_object: ask for it in the prompt, or give a JSON schema.",
        "dropped:response_format",
    ),
    dropped(
        "response_format(json_schema).json_schema.strict", "The upstream needs no name, and always holds to the schema."
    ),
    *all_dropped(
        "It is what an upstream does without being asked.",
        paths=(
            "response_format(text)",
            "tools[custom].custom.format(text)",
        ),
    ),
    dropped("stream", "The path that is asked says so."),
    dropped(
        "stream_options",
        "The caller's stream is written by the gateway; only `include_obfuscation: true` is listed, as `dropped:stream_options.include_obfuscation`.",
        whole=True,
    ),
    dropped("web_search_options", "Converse has none.", "dropped:web_search", whole=True),
    refused(
        "messages[assistant].audio", "Converse does not take audio without its data and format.", "messages", whole=True
    ),
    refused(
        "messages[user].content[file].file.file_id",
        "Converse has no files by id: send it as a data URL, or name an object in S3.",
        "messages",
    ),
    refused(
        "modalities",
        "This model is served by Bedrock's Converse, which answers in text only. Leave `modalities` out.",
        "modalities",
        "unsupported_parameter",
    ),
    refused(
        "n",
        "This model is served by Bedrock's Converse, which gives one choice. Send `n` requests, or leave `n` out.",
        "n",
        "unsupported_parameter",
    ),
)
