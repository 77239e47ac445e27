"""Hooks named by their import paths, as a configuration does."""

from __future__ import annotations

import difflib
import importlib
import operator
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from aigateway.hooks.chain import STAGES, Chain


class HookImportError(Exception):
    """Why a hook cannot be had. The message shows none of its arguments."""


def load_hook(path: str, arguments: Mapping[str, Any]) -> object:
    """What `package.module:Name` names: an instance as it is, or a class called with the arguments.

    Raises HookImportError.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise HookImportError(f"'{path}' is not an import path: write package.module:Class")
    found = _attribute(_module(module_name), attribute)
    hook = _made(found, path, arguments) if isinstance(found, type) else found
    if hook is found and arguments:
        raise HookImportError(f"{path} is no class, so it takes no arguments")
    try:
        Chain([hook])
    except TypeError as error:
        raise HookImportError(f"{path} has none of the hook methods: {', '.join(STAGES)}") from error
    return hook


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a script that was meant to be run
        missing = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")
        advice = "; is it installed, or in the folder where aigateway is started?" if missing else ""
        raise HookImportError(f"importing {name} failed: {type(error).__name__}: {error}{advice}") from error


def _attribute(module: ModuleType, name: str) -> object:
    try:
        return operator.attrgetter(name)(module)
    except AttributeError as error:
        close = difflib.get_close_matches(name, vars(module), n=1)
        advice = f"; did you mean {close[0]}?" if close else ""
        raise HookImportError(f"{module.__name__} has no '{name}'{advice}") from error


def _made(made: type, path: str, arguments: Mapping[str, Any]) -> object:
    try:
        return made(**arguments)
    except Exception as error:
        text = str(error)
        for secret in sorted(_texts(arguments.values()), key=len, reverse=True):
            text = text.replace(secret, "***")
        raise HookImportError(f"making {path} failed: {type(error).__name__}: {text}") from error


def _texts(values: Iterable[Any]) -> set[str]:
    """Every string in the arguments: each may be a secret."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, str) and value:
            found.add(value)
        elif isinstance(value, Mapping):
            found |= _texts(value.values())
        elif isinstance(value, list | tuple):
            found |= _texts(value)
    return found
