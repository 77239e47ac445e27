"""Names of models and where they go: the registry, and functions that choose by anything in the call."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway import Call, FunctionProvider, Gateway, ModelNotFoundError, Models, Principal, Target
from tests.answers import CHAT_REPLY, RESPONSES_REPLY

MESSAGES = [{"role": "user", "content": "q"}]


class Named(FunctionProvider):
    """Answers with its own name, the API it was asked on, and the model it was asked for."""

    def __init__(self, name: str, apis: tuple[str, ...] = ("chat",)) -> None:
        super().__init__(name, lambda body: "", apis)

    async def send(self, request: Any) -> Any:
        text = f"{self.name}:{request.api}:{request.model}"
        if request.api == "responses":
            part = {"type": "output_text", "text": text, "annotations": []}
            item = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
            self._function = lambda body: RESPONSES_REPLY | {"output": [item]}
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            self._function = lambda body: CHAT_REPLY | {"choices": [choice]}
        return await super().send(request)


A, B, C, D = (Named(name) for name in "abcd")


async def goes_to(models: Models, model: str, resolver: Any = None, **more: Any) -> str:
    """`provider:api:model` of where a chat call arrives."""
    gateway = Gateway(models=models, resolver=resolver)
    reply = await gateway.chat(model=model, messages=MESSAGES, **more)
    assert reply.model == model
    return str(reply.texts()[0])


ORDER = Models({"*": A, "gpt-*": B, "gpt-4*": C, "gpt-4o": D, "*/llama-?": D, "[xy]": C})


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gpt-4o", "d"),
        ("gpt-4o-mini", "c"),
        ("gpt-3.5", "b"),
        ("meta/llama-3", "d"),
        ("meta/llama-33", "a"),
        ("x", "c"),
        ("GPT-4o", "a"),
        ("anything at all", "a"),
    ],
)
async def test_exact_names_win_over_patterns_and_longer_ones_over_shorter(name: str, provider: str) -> None:
    assert await goes_to(ORDER, name) == f"{provider}:chat:{name}"


async def test_order_of_registration_does_not_matter() -> None:
    models = Models()
    for name, provider in (("gpt-4o", D), ("gpt-4*", C), ("gpt-*", B), ("*", A)):
        models.register(name, provider)
    assert [await goes_to(models, name) for name in ("gpt-4o", "gpt-4", "gpt-3", "other")] == [
        "d:chat:gpt-4o",
        "c:chat:gpt-4",
        "b:chat:gpt-3",
        "a:chat:other",
    ]


async def test_without_a_default_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ModelNotFoundError, match=r"model not found: 'other'") as failure:
        await goes_to(Models({"gpt-*": A}), "other")
    assert (failure.value.status, failure.value.code, failure.value.param) == (404, "model_not_found", "model")


async def test_a_model_is_rewritten_for_the_upstream_and_not_for_the_caller() -> None:
    models = Models({"target": Target(A, "from-target")})
    models.register("option", A, model="from-option")
    models.register("both", Target(A, "from-target"), model="from-option")
    models.register("glob-*", A, model="from-glob")
    names = ["target", "option", "both", "glob-7"]
    assert [await goes_to(models, name) for name in names] == [
        "a:chat:from-target",
        "a:chat:from-option",
        "a:chat:from-target",
        "a:chat:from-glob",
    ]


@pytest.mark.parametrize(
    ("prefer", "api"), [(None, "chat"), ("chat", "chat"), ("responses", "responses"), ("embeddings", "chat")]
)
async def test_prefer_names_the_api_used_upstream(prefer: str | None, api: str) -> None:
    models = Models()
    models.register("gpt", Named("both", ("chat", "responses")), prefer=prefer)
    assert await goes_to(models, "gpt") == f"both:{api}:gpt"


async def test_what_the_provider_does_not_speak_is_not_preferred() -> None:
    models = Models()
    models.register("gpt", A, prefer="responses")
    assert await goes_to(models, "gpt") == "a:chat:gpt"


async def test_several_targets_are_tried_in_order() -> None:
    def fail(body: dict[str, Any]) -> Any:
        raise ConnectionError("down")

    models = Models({"gpt": [FunctionProvider("down", fail), Target(B, "second"), C]})
    assert await goes_to(models, "gpt") == "b:chat:second"


async def test_unregistered_models_are_gone_for_new_calls() -> None:
    models = Models({"gpt": A, "gpt-*": B})
    assert "gpt" in models
    assert len(models) == 2
    models.unregister("gpt")
    models.unregister("gpt-*")
    assert ("gpt" in models, "gpt-*" in models, len(models)) == (False, False, 0)
    with pytest.raises(ModelNotFoundError):
        await goes_to(models, "gpt")
    with pytest.raises(KeyError):
        models.unregister("gpt")


@pytest.mark.parametrize("name", ["gpt", "gpt-*", "*"])
async def test_a_name_is_taken_once_unless_replaced(name: str) -> None:
    models = Models({name: A})
    with pytest.raises(ValueError, match="registered already"):
        models.register(name, B)
    assert (
        await goes_to(models, "gpt-" if name == "gpt-*" else "gpt") == f"a:chat:{'gpt-' if name == 'gpt-*' else 'gpt'}"
    )
    models.register(name, B, replace=True)
    assert len(models) == 1
    assert (await goes_to(models, "gpt-" if name == "gpt-*" else "gpt")).startswith("b:")


@pytest.mark.parametrize(("name", "where"), [("", A), ("gpt", [])], ids=["no-name", "no-target"])
def test_an_entry_needs_a_name_and_a_target(name: str, where: Any) -> None:
    with pytest.raises(ValueError, match="needs a"):
        Models().register(name, where)


def test_models_are_listed_by_name_with_a_stable_created() -> None:
    models = Models({"b": A, "a": A, "gpt-*": A, "*": A})
    models.register("c", A, owned_by="me", created=7)
    gateway = Gateway(models=models)
    call = gateway.exchange("models", {}).call
    listed = gateway.listed(call)
    assert listed == Gateway(models=Models({"a": A, "b": A})).listed(call) | {
        "data": [
            {"id": "a", "object": "model", "created": 1767225600, "owned_by": "aigateway"},
            {"id": "b", "object": "model", "created": 1767225600, "owned_by": "aigateway"},
            {"id": "c", "object": "model", "created": 7, "owned_by": "me"},
        ]
    }
    assert listed == gateway.listed(call)
    assert gateway.retrieved(call, "c") == listed["data"][2]
    assert gateway.retrieved(call, "gpt-9")["id"] == "gpt-9"


def test_models_of_a_tenant_are_seen_and_found_by_it_alone() -> None:
    models = Models({"open": A})
    models.register("red", A, tenants=["red"])
    models.register("*", B, tenants=["red", "blue"])
    red, blue = Principal("red"), Principal("blue")
    assert [[model.name for model in models.listed(who)] for who in (red, blue, None)] == [
        ["open", "red"],
        ["open"],
        ["open"],
    ]
    found = models.find("red", red)
    assert found is not None
    assert found.targets[0].provider is A
    assert models.find("red", blue) is None  # nor by the pattern, which would betray that the name is free
    assert models.find("other", blue) is not None
    assert models.find("other", None) is None


def test_every_provider_is_known_once() -> None:
    models = Models({"a": A, "b": [A, B], "c-*": Target(C)})
    assert models.providers() == [A, B, C]


async def test_providers_alone_serve_every_name_by_the_first_of_them() -> None:
    gateway = Gateway(providers=[A, B], models={"gpt": B})
    replies = [await gateway.chat(model=name, messages=MESSAGES) for name in ("gpt", "other")]
    assert [reply.texts()[0] for reply in replies] == ["b:chat:gpt", "a:chat:other"]
    assert gateway.providers() == [A, B]


# resolvers

FAST = Models({"fast": Target(B, "b-fast"), "gpt": A, "open": C})


async def test_a_resolver_sees_the_call_and_may_give_a_provider_a_target_or_several() -> None:
    wheres: list[Any] = [D, Target(D, "t"), [Target(D, "first"), A]]
    told = [await goes_to(FAST, "gpt", lambda call, where=where: where) for where in wheres]
    assert told == ["d:chat:gpt", "d:chat:t", "d:chat:first"]


async def test_a_resolver_may_give_another_name_or_leave_it_to_the_registry() -> None:
    assert await goes_to(FAST, "gpt", lambda call: "fast") == "b:chat:b-fast"
    assert await goes_to(FAST, "gpt", lambda call: "open") == "c:chat:open"
    assert await goes_to(FAST, "gpt", lambda call: None) == "a:chat:gpt"
    with pytest.raises(ModelNotFoundError):
        await goes_to(FAST, "gpt", lambda call: "nowhere")


async def test_a_resolver_may_be_a_coroutine() -> None:
    async def resolve(call: Call) -> Any:
        return D if call.model == "unknown" else None

    assert await goes_to(FAST, "unknown", resolve) == "d:chat:unknown"
    assert await goes_to(FAST, "gpt", resolve) == "a:chat:gpt"


async def test_a_resolver_chooses_by_header_size_and_tenant() -> None:
    def resolve(call: Call) -> Any:
        if call.headers.get("x-tier") == "gold":
            return B
        if len(call.request.raw) > 1000:
            return C
        return D if call.tenant == "red" else None

    gateway = Gateway(models=Models({"gpt": A}, resolver=resolve))
    gateway.hook.authenticate(lambda call, key: key or "nobody")

    async def told(content: str = "q", **more: Any) -> str:
        reply = await gateway.chat(model="gpt", messages=[{"role": "user", "content": content}], **more)
        return str(reply.texts()[0])

    assert await told() == "a:chat:gpt"
    assert await told(headers={"X-Tier": "gold"}) == "b:chat:gpt"
    assert await told("q" * 2000) == "c:chat:gpt"
    assert await told(api_key="red") == "d:chat:gpt"


async def test_a_resolver_sees_what_hooks_made_of_the_request() -> None:
    gateway = Gateway(models=FAST, resolver=lambda call: "fast" if call.request.texts() == ["Q"] else None)
    gateway.hook.before_request(lambda call: call.request.map_texts(str.upper))
    reply = await gateway.chat(model="gpt", messages=MESSAGES)
    assert reply.texts() == ["b:chat:b-fast"]
