"""docs/providers.md, made of the catalog: `python -m aigateway.providers.docs > docs/providers.md`."""

from __future__ import annotations

import sys

from aigateway.canonical.quirks import Quirks
from aigateway.providers.catalog import CATALOG, CatalogRow
from aigateway.surface import APIS

_HEAD = """\
# Providers

What a provider's `type` (or its name, where it is one of these) brings: the base URL, the variable with the key, the
APIs that it speaks, and how its dialect differs. [Configuration](configuration.md#providers) tells how each of these
is set to something else, and any other host that speaks OpenAI's API is a provider with a `base_url` of its own.

A row says what the vendor documents, on the page behind its name, or what a recorded exchange shows. An API that is
missing here is translated from one that is listed; where none of these can serve it the answer is a 404.

Azure OpenAI, Vertex AI and Cohere have more to them: [see below](#more-than-a-key).

<!-- The tables are written by `python -m aigateway.providers.docs`, from src/aigateway/providers/catalog.py. -->
"""

_TAIL = """\
## More than a key

**Azure OpenAI** (`azure`). `base_url` is the resource, `https://RESOURCE.openai.azure.com`, and a model is named as its
deployment is. Without `api_version` the v1 API is spoken; a dated one (`"2024-10-21"`, in quotes) stands in every URL,
and the deployment in those of inference. The key goes in `api-key`; in its place `entra` names an application of Entra
ID, whose tokens are fetched and renewed.

**Vertex AI** (`vertex` for Gemini, `vertex-anthropic` for Claude). `project` and `location` (a region, `us`, `eu` or
`global`) say where. `credentials` is the path of a service account's JSON key, which needs
`pip install 'aigateway[vertex]'`; without it `GOOGLE_APPLICATION_CREDENTIALS` counts, else the metadata server of the
machine is asked. Tokens are renewed five minutes before they end.

**Cohere** (`cohere`) is asked in its own v2 API: chat, embeddings (`input_type` is `search_document` unless the request
says another) and rerank. `cohere-compatibility` is its endpoint in OpenAI's form. A caller of any API may add what only
Cohere's chat reads (`documents`, `citation_options`, `safety_mode`, `strict_tools`, `priority`, `raw_prompting`); what
becomes of every other field stands in [the table](translation/chat-cohere.md). To embeddings anything may be added but
another `embedding_types` than `float`; they come with Cohere's own `id` and `meta`, without the texts, and `user` is not
told. Of documents that are objects rerank reads the `text` alone, and gives back the whole.

**Rerank** is the same everywhere for the caller: the body that Cohere and Jina share. Hosts that have it in another form
are told in theirs; the column of dialects says which.

```yaml
providers:
  azure:
    base_url: https://RESOURCE.openai.azure.com
    entra: {tenant_id: "${TENANT}", client_id: "${CLIENT}", client_secret: "${SECRET}"}
  vertex: {project: my-project, location: global} # as the machine's own account, or GOOGLE_APPLICATION_CREDENTIALS
  claude: {type: vertex-anthropic, project: my-project, location: us-east5}
  cohere: {api_key: "${COHERE_API_KEY}"}
models:
  gpt: {provider: azure, model: my-deployment}
  gemini: {provider: vertex, model: gemini-2.5-flash}
  rerank: {provider: cohere, model: rerank-v3.5}
```
"""


def document() -> str:
    """The whole text."""
    hosted = [row for row in CATALOG.values() if not _is_local(row)]
    local = [row for row in CATALOG.values() if _is_local(row)]
    sections = [_section(f"Vendors ({len(hosted)})", hosted), _section(f"Local servers ({len(local)})", local)]
    return "\n".join([_HEAD, *sections, _TAIL])


def _is_local(row: CatalogRow) -> bool:
    return (row.base_url or "").startswith("http://")


def _section(title: str, rows: list[CatalogRow]) -> str:
    lines = [f"## {title}\n", "| type | base URL | key | APIs | dialect | |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *map(_line, rows)]) + "\n"


def _line(row: CatalogRow) -> str:
    base = f"`{row.base_url}`" if row.base_url else ""
    key = f"`{row.api_key_env}`" if row.api_key_env else ""
    apis = "all of OpenAI's" if row.apis == APIS else ", ".join(sorted(row.apis))
    return f"| [{row.name}]({row.docs}) | {base} | {key} | {apis} | {_dialect(row)} | {row.notes} |"


def _dialect(row: CatalogRow) -> str:
    """What differs from the defaults, each as it is written in a configuration."""
    default = Quirks()
    facts = [f"{api}: {name}" for api, name in sorted(row.dialects.items())]
    for name in Quirks.__struct_fields__:
        value = getattr(row.quirks, name)
        if value == getattr(default, name):
            continue
        if value is True:
            facts.append(name)
        else:
            shown = " ".join(sorted(value)) if isinstance(value, frozenset) else str(value).lower() or '""'
            facts.append(f"{name}: {shown}")
    return "; ".join(facts)


if __name__ == "__main__":
    sys.stdout.write(document())
