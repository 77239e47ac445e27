"""A gateway in front of one OpenAI-compatible host, set up by environment variables: see README.md."""

import ipaddress
import logging
import os
import sys
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import uvicorn

from aigateway import CORS, Call, Gateway, GatewayError, Hook, LoggingHook, Models, Principal, Provider, Target, Timeout

OPENAI = "https://api.openai.com/v1"
CHAT_NAMES = ("gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo")
EMBEDDING_NAMES = ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002")
IMAGE_NAMES = ("gpt-image-1", "dall-e-3", "dall-e-2")

logger = logging.getLogger("example")


class SettingsError(Exception):
    """The environment does not say what the program needs."""


class Settings(NamedTuple):
    """What the environment says."""

    base_url: str
    api_key: str
    llm_model: str | None
    embedding_model: str | None
    keys: dict[str, str]
    host: str
    port: int

    @property
    def at_openai(self) -> bool:
        """Whether the host is OpenAI's own."""
        return urlsplit(self.base_url).hostname == urlsplit(OPENAI).hostname


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings. Raises SettingsError naming what is missing or wrong."""
    values = {name: text.strip() for name, text in environment.items() if text.strip()}
    port = values.get("PORT", "8083")
    if not port.isdecimal():
        raise SettingsError(f"PORT must be a number, not {port!r}")
    settings = Settings(
        base_url=values.get("OPENAI_BASE_URL", OPENAI),
        api_key=values.get("OPENAI_API_KEY", ""),
        llm_model=values.get("LLM_MODEL"),
        embedding_model=values.get("EMBEDDING_MODEL"),
        keys=read_keys(values.get("GATEWAY_KEYS", "")),
        host=values.get("HOST", "127.0.0.1"),
        port=int(port),
    )
    url = settings.base_url
    if not settings.api_key:
        raise SettingsError(f"OPENAI_API_KEY is not set: the key for {url} ('none' for a host that wants no key)")
    if not settings.at_openai and settings.llm_model is None:
        raise SettingsError(f"LLM_MODEL is not set: the model at {url} that answers for {', '.join(CHAT_NAMES)}")
    if not (settings.keys or is_loopback(settings.host) or values.get("GATEWAY_NO_AUTH") == "1"):
        raise SettingsError(
            f"GATEWAY_KEYS is not set, and HOST={settings.host} lets others in: whoever reaches this port would spend "
            "your key. Set GATEWAY_KEYS=key:tenant,... or, if that is what you want, GATEWAY_NO_AUTH=1"
        )
    return settings


def read_keys(text: str) -> dict[str, str]:
    """`key:tenant,key2:tenant2` as key -> tenant."""
    keys: dict[str, str] = {}
    for number, pair in enumerate(filter(None, (pair.strip() for pair in text.split(","))), 1):
        key, _, tenant = pair.partition(":")
        if not key or not tenant:
            raise SettingsError(f"GATEWAY_KEYS: entry {number} is not key:tenant")
        keys[key] = tenant
    return keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class AuthHook(Hook):
    """Lets in who has one of the keys. (`aigateway.APIKeyAuthenticator` is the built-in hook of this kind.)"""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._tenants = {key: Principal(tenant) for key, tenant in keys.items()}

    def authenticate(self, call: Call, key: str | None) -> Principal | None:
        return self._tenants.get(key or "")


class ErrorHook(Hook):
    """Logs why a call failed, and tells the caller which call to ask about."""

    def on_error(self, call: Call, error: GatewayError) -> GatewayError:
        logger.warning("call %s failed: %d %s", call.id, error.status, error.code)
        if error.status >= 500:
            error.message += f" (request id: {call.id})"
        return error


def build_gateway(settings: Settings) -> Gateway:
    """The gateway that the settings describe."""
    provider = Provider(
        "openai",
        settings.base_url,
        settings.api_key,
        # Every OpenAI-compatible host speaks chat, few speak Responses: there the gateway translates.
        apis=None if settings.at_openai else ["chat", "embeddings", "images"],
        timeout=Timeout(first_byte=1800, idle=1800),
    )
    models = Models()
    for name in dict.fromkeys([*CHAT_NAMES, settings.llm_model or CHAT_NAMES[0]]):
        models.register(name, Target(provider, settings.llm_model))
    for name in EMBEDDING_NAMES:
        models.register(name, Target(provider, settings.embedding_model))
    for name in IMAGE_NAMES:
        models.register(name, provider)
    hooks: list[Hook] = [LoggingHook(), ErrorHook()]
    if settings.keys:
        hooks.insert(0, AuthHook(settings.keys))
    return Gateway(models=models, hooks=hooks, cors=CORS())


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(os.environ)
        gateway = build_gateway(settings)
    except (SettingsError, ValueError) as error:
        sys.exit(f"cannot start: {error}")
    uvicorn.run(
        gateway,
        host=settings.host,
        port=settings.port,
        access_log=False,  # LoggingHook says more
        log_config=None,
        timeout_graceful_shutdown=30,  # seconds that running calls get after SIGTERM or Ctrl-C
    )


if __name__ == "__main__":
    main()
