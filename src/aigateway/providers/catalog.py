"""OpenAI-compatible vendors and local servers as rows: a new vendor is a new row, not new code.

A row says only what its vendor documents (or what a recorded exchange shows), so an API that is missing here is
translated from one that is listed. `stream_usage`, `strict_fields` and the like keep the defaults where a vendor says
nothing. Reasoning goes back (`reasoning_field`) to hosts of open models, whose templates read it, and to nobody whose own
chat has no such field.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from aigateway.canonical.quirks import Quirks
from aigateway.surface import APIS


class CatalogRow(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor or local server that speaks OpenAI's APIs.

    name          the config's provider `type`, lower-case.
    base_url      with its version segment, no slash at the end; operation paths (`/chat/completions`) are appended.
                  None = it holds an account or a workspace, so the user gives it.
    api_key_env   the vendor's usual environment variable; None = a local server, which needs no key.
    base_url_env  the environment variable that the vendor's own clients read for another base URL.
    apis          the OpenAI-shaped APIs it really speaks: chat, responses, embeddings, images, audio, files, batches,
                  realtime, ...
    quirks        where its dialect differs from OpenAI's.
    dialects      API -> the form in which it has that one, where it is another: names of providers/dialects.py.
    docs          the page that the row was checked against.
    notes         one sentence on what else to know.
    """

    name: str
    base_url: str | None
    api_key_env: str | None
    base_url_env: str | None = None
    apis: frozenset[str]
    quirks: Quirks = Quirks()
    dialects: Mapping[str, str] = MappingProxyType({})
    docs: str
    notes: str = ""


_REASONING = frozenset({"reasoning_content"})

_HOSTED = (
    CatalogRow(
        name="ai21",
        base_url="https://api.ai21.com/studio/v1",
        api_key_env="AI21_API_KEY",
        apis=frozenset({"chat"}),
        quirks=Quirks(reasoning_field=""),
        docs="https://docs.ai21.com/reference/jamba-1-6-api-ref",
    ),
    CatalogRow(
        name="anthropic",
        base_url="https://api.anthropic.com/v1",
        api_key_env="ANTHROPIC_API_KEY",
        base_url_env="ANTHROPIC_BASE_URL",
        apis=frozenset({"messages"}),
        quirks=Quirks(reasoning_field="", developer_role=True, threads=True),
        docs="https://platform.claude.com/docs/en/api/messages",
        notes="Its chat layer, which drops thoughts and ignores response_format, is asked only where `apis` name it.",
    ),
    CatalogRow(
        name="azure",
        base_url=None,
        api_key_env="AZURE_OPENAI_API_KEY",
        base_url_env="AZURE_OPENAI_ENDPOINT",
        apis=frozenset({"chat", "responses", "embeddings", "completions", "images", "audio", "realtime"})
        | {"files", "batches", "fine_tuning", "vector_stores", "evals", "containers", "conversations"},
        quirks=Quirks(
            max_tokens="max_completion_tokens",
            developer_role=True,
            custom_tools=True,
            repairs=frozenset({"empty_choices"}),
            reasoning_field="",
        ),
        docs="https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle",
        notes="The base URL is https://{resource}.openai.azure.com; models are named as their deployments are.",
    ),
    CatalogRow(
        name="baseten",
        base_url="https://inference.baseten.co/v1",
        api_key_env="BASETEN_API_KEY",
        apis=frozenset({"chat", "responses"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://docs.baseten.co/reference/inference-api/responses",
        notes="Responses are stateless.",
    ),
    CatalogRow(
        name="bedrock",
        base_url=None,
        api_key_env="AWS_BEARER_TOKEN_BEDROCK",
        apis=frozenset({"converse", "embeddings"}),
        docs="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        notes="The base URL is https://bedrock-runtime.{region}.amazonaws.com; AWS credentials are taken in place of a key.",
    ),
    CatalogRow(
        name="cerebras",
        base_url="https://api.cerebras.ai/v1",
        api_key_env="CEREBRAS_API_KEY",
        apis=frozenset({"chat", "completions"}),
        quirks=Quirks(
            max_tokens="max_completion_tokens", strict_fields=True, reasoning_field="reasoning", repairs=_REASONING
        ),
        docs="https://inference-docs.cerebras.ai/resources/openai",
        notes="Refuses messages[].reasoning_content but takes messages[].reasoning back.",
    ),
    CatalogRow(
        name="cloudflare",
        base_url=None,
        api_key_env="CLOUDFLARE_API_TOKEN",
        apis=frozenset({"chat", "responses", "embeddings"}),
        docs="https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility",
        notes="The base URL is https://api.cloudflare.com/client/v4/accounts/{account_id}/ai/v1.",
    ),
    CatalogRow(
        name="cohere",
        base_url="https://api.cohere.com/v2",
        api_key_env="COHERE_API_KEY",
        apis=frozenset({"cohere_chat", "embeddings", "rerank"}),
        dialects=MappingProxyType({"embeddings": "cohere", "rerank": "texts"}),
        docs="https://docs.cohere.com/reference/chat",
        notes="Cohere's own SDK reads CO_API_KEY instead.",
    ),
    CatalogRow(
        name="cohere-compatibility",
        base_url="https://api.cohere.ai/compatibility/v1",
        api_key_env="COHERE_API_KEY",
        apis=frozenset({"chat", "embeddings"}),
        quirks=Quirks(reasoning_field=""),
        docs="https://docs.cohere.com/docs/compatibility-api",
        notes="Cohere in OpenAI's form: without citations, plans and thinking.",
    ),
    CatalogRow(
        name="dashscope",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        api_key_env="DASHSCOPE_API_KEY",
        apis=frozenset({"chat", "responses", "embeddings"}),
        docs="https://www.alibabacloud.com/help/en/model-studio/compatibility-with-openai-responses-api",
        notes="This is Singapore; mainland China is https://dashscope.aliyuncs.com/compatible-mode/v1.",
    ),
    CatalogRow(
        name="databricks",
        base_url=None,
        api_key_env="DATABRICKS_TOKEN",
        apis=frozenset({"chat", "responses", "embeddings", "completions"}),
        quirks=Quirks(reasoning_field=""),
        docs="https://docs.databricks.com/gcp/en/machine-learning/model-serving/score-chat-models",
        notes="The base URL is https://{workspace}/serving-endpoints; reasoning comes as parts of `content`.",
    ),
    CatalogRow(
        name="deepinfra",
        base_url="https://api.deepinfra.com/v1/openai",
        api_key_env="DEEPINFRA_API_KEY",
        apis=frozenset({"chat", "embeddings", "completions"}),
        docs="https://deepinfra.com/docs/openai_api",
        notes="The vendor's samples read DEEPINFRA_TOKEN.",
    ),
    CatalogRow(
        name="deepseek",
        base_url="https://api.deepseek.com",
        api_key_env="DEEPSEEK_API_KEY",
        apis=frozenset({"chat", "responses"}),
        docs="https://api-docs.deepseek.com/guides/responses_api",
        notes="The base URL has no version segment, and a Responses stream ends without [DONE].",
    ),
    CatalogRow(
        name="digitalocean",
        base_url="https://inference.do-ai.run/v1",
        api_key_env="MODEL_ACCESS_KEY",
        apis=frozenset({"chat", "responses", "embeddings", "images"}),
        docs="https://docs.digitalocean.com/products/inference/how-to/si-endpoints/",
        notes="DigitalOcean's own SDK reads GRADIENT_MODEL_ACCESS_KEY.",
    ),
    CatalogRow(
        name="featherless",
        base_url="https://api.featherless.ai/v1",
        api_key_env="FEATHERLESS_API_KEY",
        apis=frozenset({"chat", "completions"}),
        docs="https://featherless.ai/docs/api-overview-and-common-options",
    ),
    CatalogRow(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        api_key_env="FIREWORKS_API_KEY",
        apis=frozenset({"chat", "responses", "embeddings", "completions"}),
        quirks=Quirks(strict_fields=True, repairs=frozenset({"usage"})),
        docs="https://docs.fireworks.ai/guides/response-api",
        notes="The last chunk of a stream carries usage unasked.",
    ),
    CatalogRow(
        name="friendli",
        base_url="https://api.friendli.ai/serverless/v1",
        api_key_env="FRIENDLI_TOKEN",
        apis=frozenset({"chat", "completions"}),
        docs="https://friendli.ai/docs/openapi/model-apis/chat-completions",
        notes="Reasoning comes in reasoning_content where parse_reasoning asks for it.",
    ),
    CatalogRow(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        api_key_env="GEMINI_API_KEY",
        apis=frozenset({"chat", "embeddings", "images", "generate_content"}),
        quirks=Quirks(reasoning_field="", strict_fields=True, call_signatures=True),
        docs="https://ai.google.dev/api",
        notes="generate_content is spoken beside `/openai`; chat has thought signatures in tool_calls[].extra_content.",
    ),
    CatalogRow(
        name="github",
        base_url="https://models.github.ai/inference",
        api_key_env="GITHUB_TOKEN",
        apis=frozenset({"chat", "embeddings"}),
        quirks=Quirks(reasoning_field=""),
        docs="https://docs.github.com/en/rest/models/inference",
        notes="The token needs the permission models:read.",
    ),
    CatalogRow(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        api_key_env="GROQ_API_KEY",
        apis=frozenset({"chat", "responses", "audio", "files", "batches"}),
        quirks=Quirks(
            max_tokens="max_completion_tokens", strict_fields=True, reasoning_field="reasoning", repairs=_REASONING
        ),
        docs="https://console.groq.com/docs/openai",
        notes="Refuses logprobs, logit_bias, messages[].name and n above 1; Responses are in beta.",
    ),
    CatalogRow(
        name="heroku",
        base_url=None,
        api_key_env="INFERENCE_KEY",
        apis=frozenset({"chat", "embeddings"}),
        quirks=Quirks(reasoning_field=""),
        docs="https://devcenter.heroku.com/articles/heroku-inference-api-v1-chat-completions",
        notes="The base URL is https://{region}.inference.heroku.com/v1, the add-on's INFERENCE_URL.",
    ),
    CatalogRow(
        name="huggingface",
        base_url="https://router.huggingface.co/v1",
        api_key_env="HF_TOKEN",
        apis=frozenset({"chat", "responses"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://huggingface.co/docs/inference-providers/guides/responses-api",
        notes="The reasoning field and the strictness are those of the provider it routes to; Responses are in beta.",
    ),
    CatalogRow(
        name="inception",
        base_url="https://api.inceptionlabs.ai/v1",
        api_key_env="INCEPTION_API_KEY",
        apis=frozenset({"chat"}),
        docs="https://docs.inceptionlabs.ai/get-started/sdks",
    ),
    CatalogRow(
        name="jina",
        base_url="https://api.jina.ai/v1",
        api_key_env="JINA_API_KEY",
        apis=frozenset({"embeddings", "rerank"}),
        docs="https://jina.ai/reranker/",
        notes="Embeddings take a task, documents to rank may be images.",
    ),
    CatalogRow(
        name="minimax",
        base_url="https://api.minimax.io/v1",
        api_key_env="MINIMAX_API_KEY",
        apis=frozenset({"chat", "responses"}),
        quirks=Quirks(max_tokens="max_completion_tokens"),
        docs="https://platform.minimax.io/docs/api-reference/responses-create",
        notes="Older models think in <think> tags unless reasoning_split is set; mainland China is api.minimaxi.com.",
    ),
    CatalogRow(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        api_key_env="MISTRAL_API_KEY",
        apis=frozenset({"chat", "embeddings", "audio", "moderations"}),
        quirks=Quirks(
            reasoning_field="", stream_usage=False, strict_fields=True, repairs=frozenset({"tool_call_type"})
        ),
        docs="https://docs.mistral.ai/resources/migration-guides",
        notes="Reasoning comes as `thinking` parts of `content`; the last chunk of a stream always carries usage.",
    ),
    CatalogRow(
        name="moonshot",
        base_url="https://api.moonshot.ai/v1",
        api_key_env="MOONSHOT_API_KEY",
        apis=frozenset({"chat", "responses"}),
        quirks=Quirks(max_tokens="max_completion_tokens"),
        docs="https://platform.kimi.ai/docs/api/overview.md",
        notes="Wants reasoning_content back on messages with tool calls; mainland China is api.moonshot.cn.",
    ),
    CatalogRow(
        name="nebius",
        base_url="https://api.tokenfactory.nebius.com/v1",
        api_key_env="NEBIUS_API_KEY",
        apis=frozenset({"chat", "embeddings", "images", "completions"}),
        docs="https://docs.tokenfactory.nebius.com/api-reference/introduction",
        notes="Was api.studio.nebius.ai.",
    ),
    CatalogRow(
        name="novita",
        base_url="https://api.novita.ai/openai/v1",
        api_key_env="NOVITA_API_KEY",
        apis=frozenset({"chat", "embeddings", "completions"}),
        docs="https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion",
    ),
    CatalogRow(
        name="nvidia",
        base_url="https://integrate.api.nvidia.com/v1",
        api_key_env="NVIDIA_API_KEY",
        apis=frozenset({"chat", "embeddings", "completions"}),
        docs="https://docs.nvidia.com/nim/large-language-models/latest/reference/api-reference.html",
        notes="NIM containers also speak Responses; the hosted API does not document it.",
    ),
    CatalogRow(
        name="ollama-cloud",
        base_url="https://ollama.com/v1",
        api_key_env="OLLAMA_API_KEY",
        apis=frozenset({"chat", "responses", "messages"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://docs.ollama.com/api/openai-compatibility",
        notes="Responses are stateless.",
    ),
    CatalogRow(
        name="openai",
        base_url="https://api.openai.com/v1",
        api_key_env="OPENAI_API_KEY",
        base_url_env="OPENAI_BASE_URL",
        apis=APIS,
        quirks=Quirks(
            max_tokens="max_completion_tokens",
            developer_role=True,
            allowed_tools=True,
            custom_tools=True,
            keeps_responses=True,
            signed_reasoning="refused",
            origin="openai",
            reasoning_field="",
        ),
        docs="https://platform.openai.com/docs/api-reference/chat/create",
        notes="The first o1 models refuse the developer role.",
    ),
    CatalogRow(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        api_key_env="OPENROUTER_API_KEY",
        apis=frozenset({"chat", "responses", "messages", "embeddings", "audio", "completions"}),
        quirks=Quirks(
            reasoning_field="reasoning", signed_reasoning="taken", origin="openrouter", repairs=_REASONING | {"lines"}
        ),
        docs="https://openrouter.ai/docs/api-reference/overview",
        notes="Signed reasoning is in reasoning_details, images have a path of their own, and Responses are in beta.",
    ),
    CatalogRow(
        name="ovhcloud",
        base_url="https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        api_key_env="OVH_AI_ENDPOINTS_ACCESS_TOKEN",
        apis=frozenset({"chat", "responses", "embeddings", "audio"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://docs.ovhcloud.com/pt/guides/public-cloud/ai-machine-learning/ai-endpoints-responses-api.md",
        notes="Responses want store: false; without a key the rate is limited.",
    ),
    CatalogRow(
        name="perplexity",
        base_url="https://api.perplexity.ai/v1",
        api_key_env="PERPLEXITY_API_KEY",
        apis=frozenset({"responses", "embeddings"}),
        docs="https://docs.perplexity.ai/docs/grounded-llm/openai-compatibility",
        notes="Sonar chat completions ended on 27 September 2026.",
    ),
    CatalogRow(
        name="poe",
        base_url="https://api.poe.com/v1",
        api_key_env="POE_API_KEY",
        apis=frozenset({"chat", "responses"}),
        docs="https://creator.poe.com/docs/external-applications",
    ),
    CatalogRow(
        name="sambanova",
        base_url="https://api.sambanova.ai/v1",
        api_key_env="SAMBANOVA_API_KEY",
        apis=frozenset({"chat", "responses", "embeddings", "audio", "completions"}),
        docs="https://docs.sambanova.ai/docs/api-reference/responses/create-a-model-response",
        notes="Responses are stateless.",
    ),
    CatalogRow(
        name="scaleway",
        base_url="https://api.scaleway.ai/v1",
        api_key_env="SCW_SECRET_KEY",
        apis=frozenset({"chat", "responses", "embeddings", "audio"}),
        docs="https://www.scaleway.com/en/developers/api/generative-apis",
        notes="Responses are in beta.",
    ),
    CatalogRow(
        name="siliconflow",
        base_url="https://api.siliconflow.com/v1",
        api_key_env="SILICONFLOW_API_KEY",
        apis=frozenset({"chat", "embeddings", "images", "audio", "rerank"}),
        docs="https://docs.siliconflow.com/en/api-reference/chat-completions/chat-completions",
        notes="Mainland China is https://api.siliconflow.cn/v1.",
    ),
    CatalogRow(
        name="together",
        base_url="https://api.together.ai/v1",
        api_key_env="TOGETHER_API_KEY",
        apis=frozenset({"chat", "responses", "embeddings", "images", "audio", "completions", "rerank"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://docs.together.ai/docs/inference/openai-compatibility",
        notes="Responses are not stored; the older host is api.together.xyz.",
    ),
    CatalogRow(
        name="upstage",
        base_url="https://api.upstage.ai/v1",
        api_key_env="UPSTAGE_API_KEY",
        apis=frozenset({"chat", "responses", "embeddings"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://console.upstage.ai/docs/capabilities/generate/chat",
        notes="Responses are stateless.",
    ),
    CatalogRow(
        name="venice",
        base_url="https://api.venice.ai/api/v1",
        api_key_env="VENICE_API_KEY",
        apis=frozenset({"chat", "embeddings", "images", "audio"}),
        docs="https://docs.venice.ai/welcome/getting-started",
    ),
    CatalogRow(
        name="vercel",
        base_url="https://ai-gateway.vercel.sh/v1",
        api_key_env="AI_GATEWAY_API_KEY",
        apis=frozenset({"chat", "responses", "messages", "embeddings"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions",
    ),
    CatalogRow(
        name="vertex",
        base_url=None,
        api_key_env=None,
        apis=frozenset({"chat", "generate_content"}),
        quirks=Quirks(reasoning_field="", strict_fields=True),
        docs="https://cloud.google.com/vertex-ai/generative-ai/docs/start/openai",
        notes="Needs project and location in place of a base URL, and a service account in place of a key.",
    ),
    CatalogRow(
        name="vertex-anthropic",
        base_url=None,
        api_key_env=None,
        apis=frozenset({"messages"}),
        docs="https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude",
        notes="Claude on Vertex AI; needs what vertex does.",
    ),
    CatalogRow(
        name="voyage",
        base_url="https://api.voyageai.com/v1",
        api_key_env="VOYAGE_API_KEY",
        apis=frozenset({"embeddings", "rerank"}),
        dialects=MappingProxyType({"embeddings": "voyage", "rerank": "voyage"}),
        docs="https://docs.voyageai.com/docs/reranker",
    ),
    CatalogRow(
        name="wandb",
        base_url="https://api.inference.wandb.ai/v1",
        api_key_env="WANDB_API_KEY",
        apis=frozenset({"chat"}),
        docs="https://docs.wandb.ai/inference/api-reference",
        notes="Also documented as CoreWeave Serverless Inference, at the same URL.",
    ),
    CatalogRow(
        name="xai",
        base_url="https://api.x.ai/v1",
        api_key_env="XAI_API_KEY",
        apis=frozenset({"chat", "responses", "images"}),
        docs="https://docs.x.ai/developers/model-capabilities/text/comparison.md",
        notes="Responses is the main API; chat is legacy and gives no reasoning for newer models.",
    ),
    CatalogRow(
        name="zai",
        base_url="https://api.z.ai/api/paas/v4",
        api_key_env="ZAI_API_KEY",
        apis=frozenset({"chat", "images", "audio"}),
        docs="https://docs.z.ai/api-reference/llm/chat-completion.md",
        notes="The coding plan has its own base URL, https://api.z.ai/api/coding/paas/v4.",
    ),
)

_LOCAL = (
    CatalogRow(
        name="litellm",
        base_url="http://localhost:4000/v1",
        api_key_env="LITELLM_PROXY_API_KEY",
        apis=frozenset(
            {"chat", "responses", "messages", "embeddings", "images", "audio", "moderations", "completions", "rerank"}
        )
        | {"assistants", "batches", "files", "fine_tuning", "realtime", "vector_stores", "videos"},
        docs="https://docs.litellm.ai/docs/supported_endpoints",
        notes="A proxy: what it takes is up to the model behind it.",
    ),
    CatalogRow(
        name="llamacpp",
        base_url="http://localhost:8080/v1",
        api_key_env=None,
        apis=frozenset({"chat", "messages", "embeddings", "completions", "rerank"}),
        dialects=MappingProxyType({"rerank": "texts"}),
        docs="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        notes="Its /v1/responses does not conform, so Responses are translated.",
    ),
    CatalogRow(
        name="lmstudio",
        base_url="http://localhost:1234/v1",
        api_key_env=None,
        apis=frozenset({"chat", "responses", "messages", "embeddings", "completions"}),
        docs="https://lmstudio.ai/docs/developer/openai-compat",
        notes="gpt-oss models reason in `reasoning` instead.",
    ),
    CatalogRow(
        name="localai",
        base_url="http://localhost:8080/v1",
        api_key_env=None,
        apis=frozenset({"chat", "responses", "embeddings", "images", "audio", "completions", "rerank"}),
        docs="https://localai.io/docs/overview/",
    ),
    CatalogRow(
        name="ollama",
        base_url="http://localhost:11434/v1",
        api_key_env=None,
        apis=frozenset({"chat", "responses", "messages", "embeddings", "images", "completions"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://docs.ollama.com/api/openai-compatibility",
        notes="Responses are stateless and need 0.13.3; images are experimental.",
    ),
    CatalogRow(
        name="sglang",
        base_url="http://localhost:30000/v1",
        api_key_env=None,
        apis=frozenset({"chat", "responses", "messages", "embeddings", "completions", "rerank"}),
        dialects=MappingProxyType({"rerank": "sglang"}),
        docs="https://docs.sglang.io/docs/basic_usage/openai_api",
        notes="Responses are documented for gpt-oss models.",
    ),
    CatalogRow(
        name="tgi",
        base_url="http://localhost:8080/v1",
        api_key_env=None,
        apis=frozenset({"chat"}),
        docs="https://huggingface.co/docs/text-generation-inference/messages_api",
    ),
    CatalogRow(
        name="vllm",
        base_url="http://localhost:8000/v1",
        api_key_env=None,
        apis=frozenset({"chat", "responses", "messages", "embeddings", "audio", "completions", "realtime", "rerank"}),
        quirks=Quirks(reasoning_field="reasoning", repairs=_REASONING),
        docs="https://docs.vllm.ai/en/stable/serving/online_serving.html",
        notes="Older versions say reasoning_content.",
    ),
)

CATALOG: Mapping[str, CatalogRow] = MappingProxyType(
    {row.name: row for row in sorted(_HOSTED + _LOCAL, key=lambda row: row.name)}
)
