"""For tests of gateways, also yours: upstreams that answer, converse, and fail, as a script says."""

from aigateway.testing.upstream import ReceivedRequest, Script, ScriptedUpstream
from aigateway.testing.websocket import ScriptedSession, ScriptedWebSocket

__all__ = ["ReceivedRequest", "Script", "ScriptedSession", "ScriptedUpstream", "ScriptedWebSocket"]
