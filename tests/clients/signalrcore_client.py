"""Calls and messages of signalrcore. Usage: signalrcore_client.py TRANSPORT URL. Exits with 0, or prints the error."""

import os
import queue
import sys
import traceback

from signalrcore.hub_connection_builder import HubConnectionBuilder
from signalrcore.types import HttpTransportType

TIMEOUT_SECONDS = 60


class Client:
    """A client that queues its messages and the completions of its calls."""

    def __init__(self, url: str, transport: str) -> None:
        self.messages: queue.Queue[list] = queue.Queue()
        self.completions: queue.Queue = queue.Queue()
        opened: queue.Queue = queue.Queue()
        options = {"transport": getattr(HttpTransportType, transport)}
        self.connection = HubConnectionBuilder().with_url(url, options=options).build()
        self.connection.on_open(lambda: opened.put(None))
        self.connection.on_error(self.completions.put)
        self.connection.on("addChatMessage", self.messages.put)
        self.connection.start()
        opened.get(timeout=TIMEOUT_SECONDS)

    def call(self, method: str, *arguments: object):
        """Invokes a method and returns its completion."""
        self.connection.send(method, list(arguments), self.completions.put)
        return self.completions.get(timeout=TIMEOUT_SECONDS)


def run(transport: str, base: str) -> None:
    ann, bob = Client(f"{base}/chat?user=ann", transport), Client(f"{base}/chat?user=bob", transport)
    assert ann.call("Add", 2, 3).result == 5
    assert ann.call("Echo", "żółw" * 1_000).result == "żółw" * 1_000
    failure = ann.call("Fail", "boom")
    assert failure.error == "An unexpected error occurred invoking 'Fail' on the server. HubException: boom", failure
    for client in (ann, bob):
        client.call("JoinRoom", "lobby")
    ann.call("Send", "lobby", "hello")
    for client in (ann, bob):
        assert client.messages.get(timeout=TIMEOUT_SECONDS) == ["ann", "hello"]


if __name__ == "__main__":
    try:
        run(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    # The threads of this client do not end.
    os._exit(0)
