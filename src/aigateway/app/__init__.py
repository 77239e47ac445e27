"""The HTTP surface: a table of endpoints, errors as bodies, CORS, and the delivery of answers over ASGI."""
