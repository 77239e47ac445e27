"""Cohere's v2 chat, as an upstream: https://docs.cohere.com/reference/chat."""
