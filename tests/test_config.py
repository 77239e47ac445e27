from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aigateway import (
    Breaker,
    Call,
    Fallback,
    Gateway,
    Hedge,
    Hook,
    LoggingHook,
    NotFoundError,
    Provider,
    Queue,
    Quirks,
    Retry,
)
from aigateway.app.cors import CORS
from aigateway.assembly import ProvidersMade, build
from aigateway.config import (
    Config,
    ConfigError,
    MetricsConfig,
    ModelConfig,
    ProviderConfig,
    ServerConfig,
    Source,
    StateConfig,
    find,
    parse,
)
from aigateway.intake import Limits
from aigateway.local.llama import LocalModel
from aigateway.providers.catalog import CATALOG
from aigateway.surface import OPERATIONS
from aigateway.transport.protocol import TLS, Pool, Timeout

CONTRACT = """
server: {host: 127.0.0.1, port: 8080, workers: 1}
providers:
  openai: {type: openai, api_key: "${OPENAI_API_KEY}"}
  vllm:
    type: openai                        # a row of the provider catalog
    base_url: http://127.0.0.1:9000/v1
    api_key: none
    apis: [chat, embeddings]
    timeout: {connect: 5, first_byte: 300, idle: 120, total: null}
  claude: {type: anthropic, api_key: "${ANTHROPIC_API_KEY}"}
models:
  gpt-4: {provider: openai, model: gpt-4-turbo, prefer: chat}
  "*": {provider: openai}
auth:
  keys: {sk-team-a: team-a}
hooks: ["aigateway.hooks:LoggingHook"]
"""
ENVIRONMENT = {"OPENAI_API_KEY": "sk-openai-secret", "ANTHROPIC_API_KEY": "sk-ant-secret"}


def parsed(text: str, environ: Mapping[str, str] | None = None) -> Config:
    return parse(Source("gateway.yaml", text), environ or {})


def errors_of(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(text, environ)
    return caught.value.errors


def provider_of(text: str, environ: Mapping[str, str] | None = None) -> Provider:
    """The provider named p."""
    providers = {provider.name: provider for provider in build(parsed(text, environ), environ or {}).providers()}
    found = providers["p"]
    assert isinstance(found, Provider)
    return found


def key_of(provider: Provider) -> Any:
    return provider._api_key.reveal() if provider._api_key is not None else None  # type: ignore[union-attr]


def call_for(model: str) -> Call:
    call = Call("req_1", OPERATIONS["chat"], {})
    call.model = model
    return call


async def way_of(gateway: Gateway, model: str) -> list[tuple[str, str | None]]:
    return [(target.provider.name, target.model) for target in await gateway.models.resolve(call_for(model))]


# what is read


async def test_the_contract_s_example_becomes_a_gateway() -> None:
    config = parsed(CONTRACT, ENVIRONMENT)
    assert config.providers["vllm"].timeout == Timeout(connect=5, first_byte=300, idle=120, total=None)
    gateway = build(config, {})
    assert gateway.authenticates
    assert await way_of(gateway, "gpt-4") == [("openai", "gpt-4-turbo")]
    assert await way_of(gateway, "other") == [("openai", None)]
    [target] = await gateway.models.resolve(call_for("gpt-4"))
    assert target.prefer == "chat"
    assert isinstance(target.provider, Provider)
    assert key_of(target.provider) == "sk-openai-secret"
    assert isinstance(config.hooks[0], LoggingHook)


async def test_every_setting_of_the_traffic_arrives() -> None:
    text = """
        providers:
          p:
            base_url: http://host:9000
            api_keys: ["${KEY_A}", b]
            retry: {attempts: 5, on: [rate_limit]}
            breaker: {min_requests: 3}
            max_concurrent: 7
            queue: {size: 0}
          q: {base_url: http://host:9001, breaker: {}, retry: }
        models:
          m:
            targets: [{provider: p, weight: 3}, {provider: q, weight: 0.5}]
            balance: weighted
            retry: {budget: 2.5}
            fallback: {on: [content_filter]}
            hedge: {quantile: 0.5}
    """
    provider = provider_of(text, {"KEY_A": "a"})
    assert provider.keys is not None
    assert [provider.keys.pick().reveal() for _ in range(3)] == ["a", "b", "a"]
    assert (provider.retry, provider.breaker) == (Retry(attempts=5, on=("rate_limit",)), Breaker(min_requests=3))
    assert (provider.max_concurrent, provider.queue) == (7, Queue(size=0))
    gateway = build(parsed(text, {"KEY_A": "a"}), {})
    targets, entry = await gateway.models.route(call_for("m"))
    assert [target.weight for target in targets] == [3, 0.5]
    assert isinstance(targets[1].provider, Provider)
    assert (targets[1].provider.breaker, targets[1].provider.keys) == (Breaker(), None)
    assert entry is not None
    assert (entry.balance, entry.retry, entry.hedge) == ("weighted", Retry(budget=2.5), Hedge(quantile=0.5))
    assert entry.fallback == Fallback(on=("content_filter",))


def test_an_empty_file_is_the_default_configuration() -> None:
    assert parsed("") == parsed("# nothing\n") == parsed("{}") == Config()


def test_sections_with_nothing_behind_them_are_empty() -> None:
    assert parsed("server:\nproviders:\nmodels:\nhooks:\ncors:\nlimits:\n") == Config()


def test_every_setting_of_a_provider_arrives() -> None:
    provider = provider_of("""
        providers:
          p:
            base_url: http://host:9000
            base_path: /api/v2
            api_key: k
            apis: [chat]
            timeout: {idle: 1.5}
            headers: {X-Team: a}
            pool: {max_connections: 7, keepalive: 3}
            quirks: {max_tokens: max_completion_tokens, stream_usage: false}
    """)
    assert provider.base_url == "http://host:9000/api/v2"
    assert provider.apis == {"chat"}
    assert provider.timeout == Timeout(idle=1.5)
    assert provider._headers == {"x-team": "a"}
    assert provider._pool == Pool(max_connections=7, keepalive=3)
    assert provider.quirks.max_tokens == "max_completion_tokens"
    assert provider.quirks.stream_usage is False
    assert key_of(provider) == "k"


def test_quirks_that_are_not_given_stay_those_of_the_catalog_row() -> None:
    provider = provider_of("providers: {p: {type: groq, api_key: k, quirks: {strict_fields: false}}}")
    row = CATALOG["groq"].quirks
    assert row.strict_fields
    assert (provider.quirks.strict_fields, provider.quirks.reasoning_field) == (False, row.reasoning_field)


def test_tls_files_and_a_socket_stand_beside_the_configuration(tmp_path: Path) -> None:
    for name in ("ca.pem", "client.pem"):
        (tmp_path / name).write_text("")
    text = """
        providers:
          p: {base_url: "https://a", tls: {ca: ca.pem, cert: client.pem, verify: false}, proxy: none}
          q: {base_url: "http://b", socket: up.sock}
    """
    config = parse(Source(str(tmp_path / "gateway.yaml"), text), {})
    gateway = build(config, {})
    p, q = gateway.providers()
    assert isinstance(p, Provider)
    assert isinstance(q, Provider)
    assert p._tls == TLS(ca=str(tmp_path / "ca.pem"), cert=str(tmp_path / "client.pem"), verify=False)
    assert (p._proxy, q._proxy, q._socket) == ("none", None, str(tmp_path / "up.sock"))


def test_a_provider_s_name_is_its_type_where_it_is_one() -> None:
    assert parsed("providers: {groq: {api_key: k}}").providers["groq"].type == "groq"
    assert parsed("providers: {mine: {base_url: http://x}}").providers["mine"].type is None


def test_a_provider_without_key_and_url_takes_both_from_the_environment() -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://proxy:1/v1"}
    found = provider_of("providers: {p: {type: openai}}", environ)
    assert (found.base_url, key_of(found)) == ("http://proxy:1/v1", "k")
    other = provider_of("providers: {p: {type: openai, base_url: http://other:2/v1}}", environ)
    assert (other.base_url, key_of(other)) == ("http://other:2/v1", None)
    named = provider_of("providers: {p: {type: openai, api_key: mine}}", environ)
    assert (named.base_url, key_of(named)) == (CATALOG["openai"].base_url, "mine")


async def test_a_model_may_have_several_targets_and_facts_of_its_own() -> None:
    gateway = build(
        parsed("""
            providers: {a: {base_url: http://a}, b: {base_url: http://b}}
            models:
              short: a
              m:
                targets: [{provider: a, model: x}, {provider: b, prefer: responses}]
                model: y
                owned_by: us
                tenants: [t]
                created: 5
        """),
        {},
    )
    assert await way_of(gateway, "short") == [("a", None)]
    assert [model.name for model in gateway.models.listed()] == ["short"]
    model = gateway.models._exact["m"]
    assert [(target.provider.name, target.model, target.prefer) for target in model.targets] == [
        ("a", "x", None),
        ("b", "y", "responses"),
    ]
    assert (model.owned_by, model.tenants, model.created) == ("us", frozenset({"t"}), 5)


def test_cors_and_limits_reach_the_gateway() -> None:
    gateway = build(parsed("cors: {origins: [https://a.example]}\nlimits: {max_body: 10, keepalive: 2}"), {"X": "1"})
    assert gateway.cors == CORS(origins=("https://a.example",))
    assert gateway.limits == Limits(max_body=10, keepalive=2)


@pytest.mark.parametrize(
    ("text", "files", "batches"),
    [
        ("", None, None),
        ("default_provider: b", "b", "b"),
        ("default_provider: {files: b, '*': a}", "b", "a"),
        ("default_provider: {files: b}", "b", None),
    ],
    ids=["none", "one", "two", "one API"],
)
def test_the_default_provider_takes_what_names_no_model(text: str, files: str | None, batches: str | None) -> None:
    """Every provider counts, also one that no model goes to."""
    providers = "providers: {a: {base_url: http://a}, b: {base_url: http://b}}\nmodels: {m: a}\n"
    gateway = build(parsed(providers + text), {})

    def chosen(operation: str) -> str | None:
        try:
            [target] = gateway._default.targets(OPERATIONS[operation])
        except NotFoundError:
            return None
        return target.provider.name

    assert (chosen("files.list"), chosen("batches.list")) == (files, batches)
    assert [provider.name for provider in gateway.providers()] == ["a", "b"]


def test_on_unsupported_and_profile_reach_the_gateway_and_its_targets() -> None:
    text = """
        providers: {a: {base_url: http://a}, b: {base_url: http://b}}
        models:
          m: {targets: [{provider: a, on_unsupported: warn}, {provider: b}], on_unsupported: reject}
          n: {provider: a, on_unsupported: null}
        on_unsupported: "${WISH:-drop}"
        profile: open_responses
    """
    gateway = build(parsed(text), {})
    assert (gateway.on_unsupported, gateway.profile) == ("drop", "open_responses")
    assert [target.on_unsupported for target in gateway.models._exact["m"].targets] == ["warn", "reject"]
    assert [target.on_unsupported for target in gateway.models._exact["n"].targets] == [None]
    for other in ("providers: {a: {base_url: http://a}}\nprofile: open_responses", "profile: open_responses"):
        assert build(parsed(other), {}).profile == "open_responses"
    assert (build(Config(), {}).on_unsupported, build(Config(), {}).profile) == ("warn", "openai")


def test_merge_keys_share_settings_and_what_stands_there_wins() -> None:
    config = parsed("""
        providers:
          a: &a {base_url: http://a, apis: [chat], timeout: {idle: 3}}
          b: {<<: *a, base_url: http://b}
          c: {<<: [*a], apis: [embeddings]}
    """)
    assert (config.providers["b"].base_url, config.providers["b"].timeout.idle) == ("http://b", 3)
    assert config.providers["c"].apis == ("embeddings",)


def test_a_local_model_has_a_path_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"")
    source = Source(str(tmp_path / "gateway.yaml"), "providers: {tiny: {type: local, path: m.gguf}, local: {}}")
    config = parse(source, {})
    assert config.providers["tiny"].path == str(tmp_path / "m.gguf")
    assert config.providers["local"].type == "local"
    local, _ = build(config, {}).providers()
    assert isinstance(local, LocalModel)
    assert local.name == "tiny"


# the environment


@pytest.mark.parametrize(
    ("written", "environ", "read"),
    [
        ("${KEY}", {"KEY": "value"}, "value"),
        ("a-${KEY}-b-${KEY}", {"KEY": "x"}, "a-x-b-x"),
        ("${KEY:-other}", {}, "other"),
        ("${KEY:-other}", {"KEY": ""}, "other"),
        ("${KEY:-other}", {"KEY": "value"}, "value"),
        ("${KEY:-}", {}, ""),
        ("${KEY}", {"KEY": ""}, ""),
        ("$${KEY}", {"KEY": "value"}, "${KEY}"),
        ("$KEY {KEY}", {"KEY": "value"}, "$KEY {KEY}"),
        ("${KEY}", {"KEY": "${OTHER}"}, "${OTHER}"),
        ("${KEY}", {"KEY": "12"}, "12"),
    ],
    ids=str,
)
def test_variables_are_filled_in(written: str, environ: dict[str, str], read: str) -> None:
    config = parsed(f"providers: {{a: {{base_url: http://a, base_path: '{written}'}}}}", environ)
    assert config.providers["a"].base_path == read


def test_variables_stand_for_numbers_and_for_names() -> None:
    config = parsed(
        """
        server: {port: "${PORT}", workers: "${WORKERS:-3}"}
        providers:
          a:
            base_url: http://a
            timeout:
              idle: ${IDLE}
              first_byte: "${FIRST:-null}"
        auth: {keys: {"${CLIENT_KEY}": team}}
        cors: {origins: [http://a], credentials: "${COOKIES}"}
        """,
        {"PORT": "9000", "IDLE": "2.5", "CLIENT_KEY": "sk-1", "COOKIES": "true"},
    )
    assert (config.server.port, config.server.workers) == (9000, 3)
    assert config.providers["a"].timeout == Timeout(idle=2.5, first_byte=None)
    assert config.auth is not None
    assert config.auth.keys == {"sk-1": "team"}
    assert config.cors is not None
    assert config.cors.credentials is True


def test_reprs_show_no_secret() -> None:
    config = parsed(CONTRACT, ENVIRONMENT)
    assert "secret" not in repr(config)
    assert "sk-" not in repr(config)


# hooks


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module of the user's with hooks in it."""
    (tmp_path / "users_hooks.py").write_text(
        "from aigateway import Hook\n"
        "class Audit(Hook):\n"
        "    def __init__(self, limit=0, *, names=(), key='', nested=None):\n"
        "        if key: raise ValueError(f'no such key: {key}, {nested}')\n"
        "        self.limit, self.names = limit, names\n"
        "    def on_complete(self, call): ...\n"
        "class Empty: ...\n"
        "class Space:\n"
        "    inner = Audit(7)\n"
        "ready = Audit(5)\n"
    )
    (tmp_path / "broken_hooks.py").write_text("import nothing_like_this\n")
    (tmp_path / "raising_hooks.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("users_hooks", "broken_hooks", "raising_hooks"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("module")
def test_hooks_are_classes_instances_and_classes_with_arguments() -> None:
    config = parsed(
        """
        hooks:
          - users_hooks:Audit
          - users_hooks:ready
          - users_hooks:Space.inner
          - users_hooks:Audit: {limit: 3, names: [a, "${NAME}"]}
        """,
        {"NAME": "b"},
    )
    assert all(isinstance(hook, Hook) for hook in config.hooks)
    assert [vars(hook) for hook in config.hooks] == [
        {"limit": 0, "names": ()},
        {"limit": 5, "names": ()},
        {"limit": 7, "names": ()},
        {"limit": 3, "names": ["a", "b"]},
    ]
    assert build(config, {}) is not None


STAGES = "authenticate, before_request, on_route, before_attempt, on_event, after_response, on_error, on_complete"


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("users_hooks", "'users_hooks' is not an import path: write package.module:Class"),
        (
            "no_such_module:Hook",
            (
                "importing no_such_module failed: ModuleNotFoundError: No module named 'no_such_module'; "
                "is it installed, or in the folder where aigateway is started?"
            ),
        ),
        (
            "broken_hooks:Hook",
            "importing broken_hooks failed: ModuleNotFoundError: No module named 'nothing_like_this'",
        ),
        ("raising_hooks:Hook", "importing raising_hooks failed: RuntimeError: not today"),
        ("users_hooks:Audti", "users_hooks has no 'Audti'; did you mean Audit?"),
        ("users_hooks:Empty", f"users_hooks:Empty has none of the hook methods: {STAGES}"),
        ("{users_hooks:ready: {limit: 1}}", "users_hooks:ready is no class, so it takes no arguments"),
        (
            "{users_hooks:Audit: {key: sk-secret, nested: {deep: [hidden]}}}",
            "making users_hooks:Audit failed: ValueError: no such key: ***, {'deep': ['***']}",
        ),
        ("{}", "expected one import path with its arguments behind it"),
        ("{a:b: {}, c:d: {}}", "expected one import path with its arguments behind it"),
        ("[]", "expected a string or a mapping, got a list"),
    ],
)
def test_a_hook_that_cannot_be_had_is_told(hook: str, error: str) -> None:
    assert errors_of(f"hooks:\n  - aigateway.hooks:LoggingHook\n  - {hook}\n") == [f"gateway.yaml:3: hooks[1]: {error}"]


# files


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(None) is None
    with pytest.raises(ConfigError, match=r"^other\.yaml: cannot be read: No such file or directory$"):
        find("other.yaml")
    (tmp_path / "other.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^other\.yaml: not a text in UTF-8$"):
        find("other.yaml")
    (tmp_path / "gateway.yaml").write_bytes(b"\xef\xbb\xbfserver: {}")
    assert find(None) == Source("gateway.yaml", "server: {}")


# the reference

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")


def keys_of(section: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(section)}


@pytest.mark.parametrize(
    "section", [ServerConfig, ProviderConfig, ModelConfig, CORS, Limits, StateConfig, MetricsConfig]
)
def test_the_reference_names_every_key(section: type[msgspec.Struct]) -> None:
    assert {key for key in keys_of(section) if f"| `{key}` |" not in DOCUMENT} == set()


def test_the_reference_names_every_section_and_quirk() -> None:
    assert re.findall(r"^## ([a-z_]+)$", DOCUMENT, re.MULTILINE) == [
        field.name for field in msgspec.structs.fields(Config)
    ]
    assert {quirk for quirk in keys_of(Quirks) if f"`{quirk}`" not in DOCUMENT} == set()


def test_the_reference_s_example_is_right() -> None:
    [example] = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    config = parsed(example, {"OPENAI_API_KEY": "k", "TEAM_A_KEY": "sk-a"})
    assert build(config, {}).authenticates


def test_the_example_of_routing_is_right() -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / "routing.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    gateway = build(parsed(example, {"KEY_A": "a", "KEY_B": "b", "KEY_C": "c"}), {})
    [entry] = gateway.models.listed()
    assert (entry.balance, entry.hedge is not None) == ("weighted", True)


# state


def store_of(text: str, environ: dict[str, str] | None = None) -> Any:
    return build(parsed(text, environ), environ)._store


def test_state_is_kept_where_the_configuration_says(tmp_path: Path) -> None:
    assert store_of("state: {url: memory://}").name == "memory"
    assert store_of("state: {url: none}") is None
    assert store_of("state: {url: 'redis://127.0.0.1:6379/0'}").name == "redis"
    assert store_of("state: {url: 'postgresql://u:p@127.0.0.1/db'}").name == "postgresql"
    text = "state: {url: 'sqlite:///here.db', encryption_keys: ['${KEY}']}"
    config = parse(Source(str(tmp_path / "gateway.yaml"), text), {"KEY": "00" * 32})
    assert "0000" not in repr(config.state)
    store: Any = build(config, {})._store
    assert (type(store).__name__, store.store.path) == ("EncryptedStore", tmp_path / "here.db")


def test_state_is_kept_in_the_user_s_file_without_a_word_and_in_memory_where_that_cannot_be(tmp_path: Path) -> None:
    assert store_of("", {"AIGATEWAY_STATE": str(tmp_path / "a" / "s.db")}).path == tmp_path / "a" / "s.db"
    assert store_of("", {"XDG_STATE_HOME": str(tmp_path)}).path == tmp_path / "aigateway" / "state.db"
    (tmp_path / "file").touch()
    assert store_of("", {"XDG_STATE_HOME": str(tmp_path / "file")}).name == "memory"


def test_a_configuration_read_again_goes_on_with_its_store(tmp_path: Path) -> None:
    made = ProvidersMade()
    config = parse(Source(str(tmp_path / "gateway.yaml"), "state: {url: memory://}"), {})
    first, second = build(config, {}, made=made), build(config, {}, made=made)
    assert first._store is second._store
    other = parse(Source(str(tmp_path / "gateway.yaml"), "state: {url: memory://, on_outage: continue}"), {})
    assert build(other, {}, made=made)._store is first._store
    elsewhere = parse(Source(str(tmp_path / "gateway.yaml"), "state: {url: sqlite:///s.db}"), {})
    assert build(elsewhere, {}, made=made)._store is not first._store


# no configuration


async def test_the_environment_s_first_provider_gets_every_name() -> None:
    gateway = build(
        Config(), {"GEMINI_API_KEY": "g", "OPENAI_API_KEY": "k", "CEREBRAS_API_KEY": "c", "GROQ_API_KEY": ""}
    )
    assert [provider.name for provider in gateway.providers()] == ["openai", "gemini", "cerebras"]
    assert await way_of(gateway, "gpt-5") == [("openai", None)]
    assert await way_of(gateway, "gemini/flash") == [("gemini", "flash")]
    assert await way_of(gateway, "gemini/") == [("openai", None)]
    assert await way_of(gateway, "unknown/model") == [("openai", None)]


def test_a_base_url_alone_makes_openai_known() -> None:
    [provider] = build(Config(), {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}).providers()
    assert isinstance(provider, Provider)
    assert (provider.name, provider.base_url, key_of(provider)) == ("openai", "http://127.0.0.1:9/v1", None)


def test_a_bad_url_in_the_environment_is_told_without_showing_it() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Config(), {"OPENAI_BASE_URL": "sk-secret"})
    assert caught.value.errors == ["environment: OPENAI_BASE_URL: must be an http or https URL"]


def test_a_vendor_without_a_known_address_is_not_found_by_its_key() -> None:
    gateway = build(Config(), {"CLOUDFLARE_API_TOKEN": "k"})
    assert [provider.name for provider in gateway.providers()] == ["local"]


async def test_without_any_key_the_local_model_is_served() -> None:
    gateway = build(parsed("auth: {keys: {k: t}}"), {})
    [provider] = gateway.providers()
    assert isinstance(provider, LocalModel)
    assert gateway.authenticates
    assert await way_of(gateway, "local") == [("local", None)]


async def test_providers_without_models_serve_every_name() -> None:
    gateway = build(parsed("providers: {b: {base_url: http://b}, a: {base_url: http://a}}"), {"OPENAI_API_KEY": "k"})
    assert await way_of(gateway, "m") == [("b", None)]
    assert await way_of(gateway, "a/m") == [("a", "m")]
