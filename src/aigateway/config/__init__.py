"""The configuration: what may stand in it, and everything that can be wrong with it.

`parse` gives a `Config` that `assembly.build` can make a gateway of, or raises a ConfigError with all mistakes and the
place of each. Reference: docs/configuration.md.
"""

from aigateway.config.reading import DEFAULT_FILE, find, parse
from aigateway.config.schema import (
    AZURE,
    LOCAL,
    VERTEX,
    AuthConfig,
    Config,
    ConfigError,
    EntraConfig,
    MetricsConfig,
    ModelConfig,
    ProviderConfig,
    ServerConfig,
    Source,
    StateConfig,
    StreamsConfig,
    TargetConfig,
)

__all__ = [
    "AZURE",
    "AuthConfig",
    "Config",
    "ConfigError",
    "DEFAULT_FILE",
    "EntraConfig",
    "LOCAL",
    "MetricsConfig",
    "ModelConfig",
    "ProviderConfig",
    "ServerConfig",
    "Source",
    "StateConfig",
    "StreamsConfig",
    "TargetConfig",
    "VERTEX",
    "find",
    "parse",
]
