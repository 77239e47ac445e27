"""What is unlawful in a Responses stream or a response, rule by rule: docs/lint.md."""

from aigateway.lint.rules import PROFILES, RULES, Finding, Profile, Rule
from aigateway.lint.stream import lint_response, lint_sse, lint_stream

__all__ = ["PROFILES", "RULES", "Finding", "Profile", "Rule", "lint_response", "lint_sse", "lint_stream"]
