"""The `generate_content` API: Google's Gemini, https://ai.google.dev/api/generate-content."""
