"""For tests of gateways, also yours: an upstream that answers, and fails, as a script says."""

from aigateway.testing.upstream import ReceivedRequest, Script, ScriptedUpstream

__all__ = ["ReceivedRequest", "Script", "ScriptedUpstream"]
