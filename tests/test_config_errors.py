from __future__ import annotations

from collections.abc import Mapping

import pytest

from aigateway.config import ConfigError, Source, parse
from aigateway.providers.catalog import CATALOG


def errors_of(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(Source("gateway.yaml", text), environ or {})
    assert str(caught.value) == "\n".join(caught.value.errors)
    return caught.value.errors


BAD: dict[str, tuple[str, list[str]]] = {
    "unknown section": (
        "provider: {}",
        ["gateway.yaml:1: provider: unknown key; did you mean providers or profile or default_provider?"],
    ),
    "a key for what is public": (
        "metrics: {public: true, key: k}",
        ["gateway.yaml:1: metrics.key: asks nobody where metrics are public: give one of both"],
    ),
    "an empty key for metrics": (
        "metrics: {key: ''}",
        ["gateway.yaml:1: metrics.key: must not be empty; leave it out to let in who has a key of `auth`"],
    ),
    "a key for metrics that no header can hold": (
        'metrics: {key: "sk-secret\\n"}',
        [
            "gateway.yaml:1: metrics.key: must not begin or end with a space, nor have a line break or control character in it"
        ],
    ),
    "no models in metrics": (
        "metrics: {max_models: 0}",
        ["gateway.yaml:1: metrics.max_models: must be from 1 to 10000"],
    ),
    "unknown key with nothing like it": (
        "server: {zzz: 1}",
        ["gateway.yaml:1: server.zzz: unknown key; known: host, port, workers"],
    ),
    "wrong type": (
        "providers:\n  vllm:\n    base_url: http://a\n    timeout:\n      idle: soon\n",
        ["gateway.yaml:5: providers.vllm.timeout.idle: expected a number, got a string"],
    ),
    "a number for a string": (
        "providers: {a: {base_url: http://a, api_key: 123}}",
        ["gateway.yaml:1: providers.a.api_key: expected a string, got a number; put it in quotes"],
    ),
    "a boolean for a string": (
        "providers: {a: {base_url: http://a, api_key: no}}",
        ["gateway.yaml:1: providers.a.api_key: expected a string, got true or false; put it in quotes"],
    ),
    "a fraction for a whole number": (
        "server: {port: 80.5}",
        ["gateway.yaml:1: server.port: expected a whole number, got a decimal number"],
    ),
    "another word than those there are": (
        "on_unsupported: refuse\nprofile: no",
        [
            "gateway.yaml:1: on_unsupported: expected one of drop, reject, warn, got 'refuse'",
            "gateway.yaml:2: profile: expected a string, got true or false; put it in quotes",
        ],
    ),
    "another word for a model": (
        "providers: {a: {base_url: http://a}}\nmodels: {m: {provider: a, on_unsupported: skip}}",
        ["gateway.yaml:2: models.m.on_unsupported: expected one of drop, reject, warn, got 'skip'"],
    ),
    "a store of no kind": (
        "state: {url: 'mysql://me:secret@h/db'}",
        [
            "gateway.yaml:1: state.url: must be memory://, sqlite:///PATH, postgresql://... or redis://..., or none",
        ],
    ),
    "state that cannot be": (
        "state:\n  ttl: 0\n  on_outage: wait\n  lease: -1\n  streams: {max_bytes: 0}\n  encryption_keys: [secret]\n",
        [
            "gateway.yaml:2: state.ttl: must be more than 0, or null: for ever",
            "gateway.yaml:3: state.on_outage: expected one of continue, fail, got 'wait'",
            "gateway.yaml:4: state.lease: must be more than 0",
            "gateway.yaml:5: state.streams.max_bytes: must be more than 0",
            (
                "gateway.yaml:6: state.encryption_keys[0]: a key must be 32 bytes, in base64 or hexadecimal "
                "(make one: openssl rand -base64 32)"
            ),
        ],
    ),
    "a list for a mapping": ("server: []", ["gateway.yaml:1: server: expected a mapping, got a list"]),
    "a list for the whole": ("- a", ["gateway.yaml:1: expected a mapping, got a list"]),
    "a word for a list": ("hooks: a:b", ["gateway.yaml:1: hooks: expected a list, got a string"]),
    "a tag of Python": (
        "server: !!python/object:os.system {}",
        ["gateway.yaml:1: server: expected a mapping, got a value tagged python/object:os.system"],
    ),
    "a proxy that is none": (
        "providers: {a: {base_url: http://a, proxy: 'socks5://me:secret@h'}}",
        ["gateway.yaml:1: providers.a.proxy: must be the http:// or https:// URL of a proxy, or none"],
    ),
    "a proxy and a socket": (
        "providers: {a: {base_url: http://a, proxy: http://h, socket: a.sock}}",
        ["gateway.yaml:1: providers.a.proxy: a provider with a socket is reached through no proxy"],
    ),
    "a socket without a path": (
        "providers: {a: {base_url: http://a, socket: ''}}",
        ["gateway.yaml:1: providers.a.socket: must not be empty"],
    ),
    "files for TLS that are not there": (
        "providers: {a: {base_url: https://a, tls: {ca: no-ca.pem, key: no-key.pem}}}",
        [
            "gateway.yaml:1: providers.a.tls.ca: there is no such file",
            "gateway.yaml:1: providers.a.tls.key: there is no such file",
            "gateway.yaml:1: providers.a.tls.key: needs a `cert` beside it",
        ],
    ),
    "a word for verify": (
        "providers: {a: {base_url: https://a, tls: {verify: never}}}",
        ["gateway.yaml:1: providers.a.tls.verify: expected true or false, got a string"],
    ),
    "port out of range": ("server: {port: 65536}", ["gateway.yaml:1: server.port: must be from 0 to 65535"]),
    "no workers": ("server: {workers: 0}", ["gateway.yaml:1: server.workers: must be at least 1"]),
    "empty host": (
        "server: {host: ''}",
        ["gateway.yaml:1: server.host: must not be empty; for every interface write 0.0.0.0"],
    ),
    "endless": (
        "limits: {keepalive: .inf}",
        ["gateway.yaml:1: limits.keepalive: expected a finite number"],
    ),
    "routing amounts": (
        "providers: {a: {base_url: http://a, retry: {attempts: 0}, breaker: {failure_rate: 2}, max_concurrent: 0}}",
        [
            "gateway.yaml:1: providers.a.retry: attempts must be at least 1",
            "gateway.yaml:1: providers.a.breaker: failure_rate must be more than 0 and at most 1",
            "gateway.yaml:1: providers.a.max_concurrent: must be at least 1",
        ],
    ),
    "a failure that nobody knows": (
        "providers: {a: {base_url: http://a, retry: {on: [sent]}}}\nmodels: {m: {provider: a, fallback: {on: [401]}}}",
        [
            (
                "gateway.yaml:1: providers.a.retry.on[0]: expected one of connection, rate_limit, server_error, "
                "timeout, unsent, got 'sent'"
            ),
            "gateway.yaml:2: models.m.fallback.on[0]: expected a string, got a number; put it in quotes",
        ],
    ),
    "on is a key, off is none": (
        "providers: {a: {base_url: http://a, retry: {off: [timeout], True: x}}}",
        ["gateway.yaml:1: providers.a.retry: a key must be a string, not true or false; put it in quotes"] * 2,
    ),
    "a queue without a limit": (
        "providers: {a: {base_url: http://a, queue: {size: 3}}}",
        ["gateway.yaml:1: providers.a.queue: nobody waits without max_concurrent"],
    ),
    "keys": (
        'providers: {a: {base_url: http://a, api_key: k, api_keys: [x, "", x, "y "]}, b: {base_url: http://b, api_keys: []}}',
        [
            "gateway.yaml:1: providers.a.api_keys: give api_key or api_keys, not both",
            "gateway.yaml:1: providers.a.api_keys[1]: a key must not be empty",
            "gateway.yaml:1: providers.a.api_keys[2]: this key stands in the list twice",
            (
                "gateway.yaml:1: providers.a.api_keys[3]: must not begin or end with a space, "
                "nor have a line break or control character in it"
            ),
            "gateway.yaml:1: providers.b.api_keys: name at least one key, or leave it out",
        ],
    ),
    "balance": (
        (
            "providers: {a: {base_url: http://a}}\nmodels:\n  m: {provider: a, balance: weighted}\n"
            "  n: {targets: [{provider: a, weight: 2}]}\n  o: {balance: fair, targets: [{provider: a, weight: -1}]}"
        ),
        [
            "gateway.yaml:3: models.m.balance: needs a list of targets to choose from",
            "gateway.yaml:4: models.n.targets[0].weight: counts only where the model's balance is weighted",
            (
                "gateway.yaml:5: models.o.balance: expected one of least_busy, lowest_latency, ordered, round_robin, "
                "weighted, got 'fair'"
            ),
            "gateway.yaml:5: models.o.targets[0].weight: must be at least 0",
        ],
    ),
    "no time at all": (
        "providers: {a: {base_url: http://a, timeout: {connect: 0}, pool: {max_connections: -1}}}",
        [
            "gateway.yaml:1: providers.a.timeout.connect: must be more than 0",
            "gateway.yaml:1: providers.a.pool.max_connections: must be more than 0",
        ],
    ),
    "no body at all": ("limits:\n  max_body: 0", ["gateway.yaml:2: limits.max_body: must be more than 0"]),
    "unknown provider type": (
        "providers:\n  a:\n    type: opnai\n",
        ["gateway.yaml:3: providers.a.type: unknown provider type 'opnai'; did you mean openai?"],
    ),
    "no base_url": (
        "providers: {a: {}}",
        ["gateway.yaml:1: providers.a: needs a base_url (or a type of the provider catalog)"],
    ),
    "no base_url in the catalog": (
        "providers: {cloudflare: {api_key: k}}",
        ["gateway.yaml:1: providers.cloudflare: needs a base_url (the catalog knows none for cloudflare)"],
    ),
    "bad base_url, not shown": (
        "providers: {a: {base_url: 'ftp://user:secret@host'}}",
        ["gateway.yaml:1: providers.a.base_url: must be an http or https URL"],
    ),
    "credentials in base_url": (
        "providers: {a: {base_url: 'http://user:secret@host'}}",
        ["gateway.yaml:1: providers.a.base_url: must not carry credentials, a query or a fragment"],
    ),
    "unknown API": (
        "providers: {a: {base_url: http://a, apis: [chat, 5, respones]}}",
        [
            "gateway.yaml:1: providers.a.apis[1]: expected a string, got a number; put it in quotes",
            "gateway.yaml:1: providers.a.apis[2]: unknown API 'respones'; did you mean responses?",
        ],
    ),
    "default provider": (
        "providers: {a: {base_url: http://a}, b: {base_url: http://b, apis: [chat]}}\ndefault_provider: c",
        ["gateway.yaml:2: default_provider: unknown provider 'c'; known: a, b"],
    ),
    "default providers": (
        (
            "providers: {a: {base_url: http://a}, bee: {base_url: http://b, apis: [chat]}}\n"
            "default_provider: {filse: a, files: bee, '*': be, batches: a}"
        ),
        [
            "gateway.yaml:2: default_provider.filse: unknown API 'filse'; did you mean files?",
            "gateway.yaml:2: default_provider.files: provider 'bee' does not speak 'files'",
            "gateway.yaml:2: default_provider.*: unknown provider 'be'; did you mean bee?",
        ],
    ),
    "no API": (
        "providers: {a: {base_url: http://a, apis: []}}",
        ["gateway.yaml:1: providers.a.apis: name at least one API, or leave it out"],
    ),
    "a key with a line break": (
        'providers: {a: {base_url: http://a, api_key: "k\\n", headers: {"a b": x, c: "ü"}}}',
        [
            (
                "gateway.yaml:1: providers.a.api_key: must not begin or end with a space, "
                "nor have a line break or control character in it"
            ),
            'gateway.yaml:1: providers.a.headers."a b": not the name of an HTTP header',
            "gateway.yaml:1: providers.a.headers.c: must be ASCII, as HTTP headers are",
        ],
    ),
    "quirks": (
        "providers: {a: {base_url: http://a, quirks: {stream_use: true, strict_fields: x, max_tokens: true}}}",
        [
            "gateway.yaml:1: providers.a.quirks.stream_use: unknown key; did you mean stream_usage?",
            "gateway.yaml:1: providers.a.quirks.strict_fields: expected true or false, got a string",
            "gateway.yaml:1: providers.a.quirks.max_tokens: expected a string, got true or false",
        ],
    ),
    "provider names": (
        "providers: {a/b: {base_url: http://a}}",
        ["gateway.yaml:1: providers.a/b: a provider's name must not be empty, nor have a slash in it"],
    ),
    "a local model is not remote": (
        "providers: {a: {type: local, base_url: http://a, path: none.gguf}, b: {base_url: http://b, path: x}}",
        [
            (
                "gateway.yaml:1: providers.a.base_url: a provider of type local has no such setting: "
                "the model is in this process"
            ),
            "gateway.yaml:1: providers.a.path: there is no such file",
            "gateway.yaml:1: providers.b.path: only a provider of type local has one",
        ],
    ),
    "unknown provider": (
        "providers: {openai: {api_key: k}}\nmodels:\n  a: opena\n  b: {provider: zzz}\n",
        [
            "gateway.yaml:3: models.a: unknown provider 'opena'; did you mean openai?",
            "gateway.yaml:4: models.b.provider: unknown provider 'zzz'; known: openai",
        ],
    ),
    "a model that goes nowhere": (
        "models:\n  gpt-4.1: {model: x}\n  b:\n  c: {targets: []}\n",
        [
            'gateway.yaml:2: models."gpt-4.1": needs a provider, or a list of targets',
            "gateway.yaml:3: models.b: needs a provider, or a list of targets",
            "gateway.yaml:4: models.c.targets: needs at least one target",
        ],
    ),
    "a model that goes everywhere": (
        "providers: {a: {base_url: http://a}}\nmodels: {m: {provider: a, targets: [{provider: a}, {model: x}]}}",
        [
            "gateway.yaml:2: models.m.targets[1]: needs a provider",
            "gateway.yaml:2: models.m.provider: give one provider or a list of targets, not both",
        ],
    ),
    "empty names": (
        "providers: {a: {base_url: http://a}}\nmodels: {'': a, m: {provider: a, model: ''}}",
        [
            'gateway.yaml:2: models."": a model needs a name',
            "gateway.yaml:2: models.m.model: must not be empty; leave it out to send the name that was asked for",
        ],
    ),
    "prefer what the provider does not speak": (
        (
            "providers: {a: {base_url: http://a, apis: [chat]}, local: {}}\n"
            "models:\n  m: {provider: a, prefer: responses}\n  n: {prefer: images, targets: [{provider: local}]}\n"
        ),
        [
            "gateway.yaml:3: models.m.prefer: provider 'a' does not speak 'responses'; it speaks chat",
            "gateway.yaml:4: models.n.targets[0]: provider 'local' does not speak 'images'; it speaks chat, embeddings",
        ],
    ),
    "auth without keys": (
        "auth:\n",
        ["gateway.yaml:1: auth.keys: name at least one key; without the section `auth` nobody is asked for one"],
    ),
    "keys that open nothing, not shown": (
        'auth: {keys: {"": a, sk-secret: "", " sk-secret": b, sk-three: 3}}',
        [
            "gateway.yaml:1: auth.keys[3]: expected a string, got a number; put it in quotes",
            "gateway.yaml:1: auth.keys[0]: a key must not be empty",
            "gateway.yaml:1: auth.keys[1]: a tenant must not be empty",
            (
                "gateway.yaml:1: auth.keys[2]: must not begin or end with a space, "
                "nor have a line break or control character in it"
            ),
        ],
    ),
    "a key in the wrong place, not shown": (
        "auth: {sk-secret: team}",
        [
            "gateway.yaml:1: auth: an unknown key (not shown: it may be a secret); known: keys",
        ],
    ),
    "duplicate keys": (
        "server: {}\nproviders:\n  a: {base_url: http://a}\n  a: {base_url: http://a}\nserver: {}\n",
        [
            "gateway.yaml:4: providers.a: this key stands here twice; the first is on line 3",
            "gateway.yaml:5: server: this key stands here twice; the first is on line 1",
        ],
    ),
    "duplicate client keys, not shown": (
        "auth:\n  keys:\n    sk-secret: a\n    sk-secret: b\n",
        ["gateway.yaml:4: auth.keys[1]: this key stands here twice; the first is on line 3"],
    ),
    "keys that are no strings": (
        "models:\n  4: a\n  ~: a\n",
        [
            "gateway.yaml:2: models: a key must be a string, not a number; put it in quotes",
            "gateway.yaml:3: models: a key must be a string, not nothing; put it in quotes",
        ],
    ),
    "merging what is no mapping": (
        "server: {<<: 5}",
        ["gateway.yaml:1: server.<<: expected a mapping, or a list of mappings"],
    ),
    "cookies for everybody": (
        "cors: {credentials: true}",
        ["gateway.yaml:1: cors: CORS with credentials must name its origins: '*' would let any page act as the user"],
    ),
    "a variable that is not set": (
        "providers:\n  a:\n    base_url: http://a\n    api_key: ${NOT_SET}\n",
        [
            (
                "gateway.yaml:4: providers.a.api_key: the environment variable NOT_SET is not set: "
                "set it, or write ${NOT_SET:-default}"
            )
        ],
    ),
    "a number that is not set": (
        "server:\n  port: ${NOT_SET}\n",
        [
            (
                "gateway.yaml:2: server.port: the environment variable NOT_SET is not set: "
                "set it, or write ${NOT_SET:-default}"
            )
        ],
    ),
    "no variable": (
        "providers: {a: {base_url: 'http://${1}'}}",
        [
            (
                "gateway.yaml:1: providers.a.base_url: '${' begins no variable: write ${NAME} or ${NAME:-default}, "
                "or $${ for a literal ${"
            )
        ],
    ),
    "no YAML": ("a: [1\nb: 2", ["gateway.yaml:2: not YAML: expected ',' or ']', but got ':'"]),
    "a tab": ("server:\n\tport: 1", ["gateway.yaml:2: not YAML: found character '\\t' that cannot start any token"]),
    "a variable that wants quotes": (
        "server: {port: ${PORT}}",
        ["gateway.yaml:1: not YAML: expected ',' or '}', but got '{'; put ${...} in quotes"],
    ),
    "a control character": ("a: b\nc: \x01", ["gateway.yaml:2: not YAML: special characters are not allowed"]),
    "two documents": (
        "server: {}\n---\nserver: {}",
        ["gateway.yaml:2: not YAML: but found another document"],
    ),
    "an unknown alias": ("server: *nowhere", ["gateway.yaml:1: not YAML: found undefined alias 'nowhere'"]),
    "too deep": ("hooks: " + "[" * 600, ["gateway.yaml:1: nested too deeply"]),
}


@pytest.mark.parametrize(("text", "errors"), BAD.values(), ids=BAD.keys())
def test_mistakes_are_told_with_their_place(text: str, errors: list[str]) -> None:
    assert errors_of(text) == errors


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = "server:\n  port: x\nmodels:\n  m: nowhere\nhooks: [nocolon]\nlimits:\n  max_depth: deep\n"
    assert errors_of(text) == [
        "gateway.yaml:2: server.port: expected a whole number, got a string",
        "gateway.yaml:4: models.m: unknown provider 'nowhere'",
        "gateway.yaml:5: hooks[0]: 'nocolon' is not an import path: write package.module:Class",
        "gateway.yaml:7: limits.max_depth: expected a whole number, got a string",
    ]


def test_a_value_from_the_environment_is_shown_as_its_variable() -> None:
    text = 'providers: {a: {type: "${KIND}"}, b: {base_url: "${URL}"}}\nmodels: {m: "${KIND}"}'
    assert errors_of(text, {"KIND": "sk-in-the-wrong-place", "URL": "sk-as-url"}) == [
        "gateway.yaml:1: providers.a.type: unknown provider type '${KIND}'; known: "
        + ", ".join(sorted([*CATALOG, "local"])),
        "gateway.yaml:1: providers.b.base_url: must be an http or https URL",
        "gateway.yaml:2: models.m: unknown provider '${KIND}'; known: a, b",
    ]


def test_a_number_from_the_environment_must_be_one() -> None:
    assert errors_of('server: {port: "${PORT}"}', {"PORT": "secret"}) == [
        "gateway.yaml:1: server.port: expected a whole number, got a string"
    ]


def test_two_variables_with_the_same_client_key_are_told() -> None:
    text = 'auth: {keys: {"${A}": a, "${B}": b}}'
    assert errors_of(text, {"A": "sk-same", "B": "sk-same"}) == [
        "gateway.yaml:1: auth.keys[1]: this key stands here twice, once its variables are filled in"
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("{a: !!binary aGk=}", "hooks[0].x:Y.a: expected a plain value, got a value tagged binary"),
        ("{a: " + "[" * 60 + "]" * 60 + "}", "hooks: nested too deeply"),
    ],
    ids=["tagged", "deep"],
)
def test_arguments_of_hooks_are_plain(arguments: str, error: str) -> None:
    assert f"gateway.yaml:1: {error}" in errors_of(f"hooks: [{{x:Y: {arguments}}}]")
