"""Scenarios of signalr-unified-client, a third-party client of classic ASP.NET SignalR. Usage: classic.py SCENARIO URL.
Exits with 0, or prints the error. The client's threads outlive their connection, so the script calls os._exit."""

import os
import queue
import sys
import traceback

from requests import Session
from signalr import Connection

TIMEOUT_S = 60


class Client:
    """A client that queues its messages and the responses to its calls."""

    def __init__(self, base: str, user: str) -> None:
        self.messages: queue.Queue[tuple] = queue.Queue()
        self.responses: queue.Queue[dict] = queue.Queue()
        self.connection = Connection(f"{base}/signalr", Session())
        self.connection.qs = {"user": user}
        self.chat = self.connection.register_hub("chat")
        self.chat.client.on("addChatMessage", lambda *values: self.messages.put(values))
        self.connection.received += self._receive
        self.connection.start()

    def _receive(self, **frame: object) -> None:
        if "I" in frame:
            self.responses.put(frame)

    def call(self, method: str, *arguments: object) -> dict:
        self.chat.server.invoke(method, *arguments)
        return self.responses.get(timeout=TIMEOUT_S)


def calls(base: str) -> None:
    ann = Client(base, "ann")
    assert ann.call("Add", 2, 3) == {"I": "0", "R": 5}
    assert ann.call("Echo", "żółw 🐢") == {"I": "1", "R": "żółw 🐢"}
    assert ann.call("Fail", "boom") == {"I": "2", "H": True, "E": "boom"}


def groups(base: str) -> None:
    ann, bob = Client(base, "ann"), Client(base, "bob")
    for client in (ann, bob):
        client.call("JoinRoom", "lobby")
    ann.call("Send", "lobby", "hello")
    for client in (ann, bob):
        assert client.messages.get(timeout=TIMEOUT_S) == ("ann", "hello")
    bob.call("SendToOthers", "lobby", "hi")
    assert ann.messages.get(timeout=TIMEOUT_S) == ("bob", "hi")
    bob.call("Echo", "")
    assert bob.messages.empty()


if __name__ == "__main__":
    try:
        {"calls": calls, "groups": groups}[sys.argv[1]](sys.argv[2])
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
