"""A port for a program that has to be told its number before it listens."""

import random
import socket


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that the system gives to nobody who asks for any port.

    Servers bound to port 0 get one of the ephemeral range: a number from there could be another test's before our program binds it.
    """
    while True:
        port = random.randrange(10_240, 32_000)  # below the ephemeral ranges of Linux, macOS and Windows
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
