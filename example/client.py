"""Asks the gateway with the official OpenAI SDK (`pip install openai`): GATEWAY_KEY=... python client.py."""

import os

from openai import OpenAI


def main() -> None:
    url = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8083/v1")
    with OpenAI(base_url=url, api_key=os.environ.get("GATEWAY_KEY", "none")) as client:
        chat(client)
        chat_stream(client)
        response(client)
        response_stream(client)
        embeddings(client)


def chat(client: OpenAI) -> None:
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}])
    print("chat:", reply.choices[0].message.content)


def chat_stream(client: OpenAI) -> None:
    print("chat, streaming: ", end="")
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Count to 10"}], stream=True
    )
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
    print()


def response(client: OpenAI) -> None:
    reply = client.responses.create(model="gpt-4o-mini", input="Hello, how are you?")
    print("responses:", reply.output_text)


def response_stream(client: OpenAI) -> None:
    print("responses, streaming: ", end="")
    for event in client.responses.create(model="gpt-4o-mini", input="Count to 10", stream=True):
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
        elif event.type == "response.completed" and event.response.usage:
            print(f" ({event.response.usage.total_tokens} tokens)")


def embeddings(client: OpenAI) -> None:
    reply = client.embeddings.create(model="text-embedding-3-small", input=["Hello", "world"])
    print("embeddings:", [len(item.embedding) for item in reply.data], "numbers")


if __name__ == "__main__":
    main()
