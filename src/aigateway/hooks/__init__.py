"""Hooks: code that runs at the stages of every call, and the built-in ones, which are ordinary hooks."""

from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.hooks.hook import Hook
from aigateway.hooks.logging_hook import LoggingHook

__all__ = ["APIKeyAuthenticator", "Hook", "LoggingHook"]
