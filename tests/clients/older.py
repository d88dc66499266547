"""Scenarios of signalr-unified-client, an older independent client: older.py SCENARIO URL. Ends with 0, or says what is
wrong. Its threads outlive their connection, so the process is ended."""

import os
import queue
import sys
import traceback

from requests import Session
from signalr import Connection

PATIENCE = 60


class Client:
    """A client whose messages and answers are taken one after the other."""

    def __init__(self, base: str, user: str) -> None:
        self.heard: queue.Queue[tuple] = queue.Queue()
        self.answers: queue.Queue[dict] = queue.Queue()
        self.connection = Connection(f"{base}/signalr", Session())
        self.connection.qs = {"user": user}
        self.chat = self.connection.register_hub("chat")
        self.chat.client.on("addChatMessage", lambda *said: self.heard.put(said))
        self.connection.received += self._receive
        self.connection.start()

    def _receive(self, **frame: object) -> None:
        if "I" in frame:
            self.answers.put(frame)

    def call(self, method: str, *arguments: object) -> dict:
        self.chat.server.invoke(method, *arguments)
        return self.answers.get(timeout=PATIENCE)


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
        assert client.heard.get(timeout=PATIENCE) == ("ann", "hello")
    bob.call("SendToOthers", "lobby", "hi")
    assert ann.heard.get(timeout=PATIENCE) == ("bob", "hi")
    bob.call("Echo", "")
    assert bob.heard.empty()


if __name__ == "__main__":
    try:
        {"calls": calls, "groups": groups}[sys.argv[1]](sys.argv[2])
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
