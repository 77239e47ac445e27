"""The `images` API: generations in JSON, edits and variations as multipart forms; relayed."""
