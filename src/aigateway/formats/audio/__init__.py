"""The `audio` API: speech, transcriptions and translations; relayed."""
