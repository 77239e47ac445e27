"""The `rerank` API in the form that Cohere and Jina share: relayed, and told to hosts that have it in another form."""
