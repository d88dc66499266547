// What each client of ASP.NET Core SignalR can do with the hub `chat` of tests/fixtures, over each transport and with each
// format. Node and a page run these functions alike.
import { assertEqual, assertFails } from "./feature_session.mjs";
import * as streams from "./feature_streams.mjs";

const invocationError = (method, text) => `An unexpected error occurred invoking '${method}' on the server. ${text}`;
const numbers = (count) => Array.from({ length: count }, (_, index) => index);
const bytes = (length) => Uint8Array.from({ length }, (_, index) => index * 7 % 256);

// Base64 as a client that uses JSON sends it.
const toBase64 = (data) => btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""));

// The connection works.
const assertAnswers = async ({ invoke }) => assertEqual(await invoke("Add", 2, 3), 5);

// Over an event stream a request of the client can follow the end of its connection, which is then the error that it
// reports. So can a poll of the predecessor.
const learnsOfRefusal = ({ transport, isModern }) =>
  transport === "WebSockets" || isModern && transport === "LongPolling";

// Features of all versions of the client.
const BASIC = {
  async "results are returned"(session) {
    const ann = await session.connect();
    assertEqual(await ann.invoke("Transport"), session.transport);
    assertEqual(await ann.invoke("Add", 2, 3), 5);
    assertEqual(await ann.invoke("other-name"), "renamed");
    for (const text of ["", "żółw 🐢", "x".repeat(20_000), null]) assertEqual(await ann.invoke("Echo", text), text);
    assertEqual(await ann.invoke("Nothing"), null);
    assertEqual(await Promise.all(numbers(50).map((number) => ann.invoke("Add", number, 1))), numbers(50).map((number) => number + 1));
  },

  async "errors have the texts of .NET"(session) {
    const ann = await session.connect();
    await assertFails(ann.invoke("Missing"), "Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist.");
    await assertFails(ann.invoke("Fail", "boom"), invocationError("Fail", "HubException: boom"));
    await assertFails(ann.invoke("Crash"), "An unexpected error occurred invoking 'Crash' on the server.");
    await assertFails(ann.invoke("Add", 1), "Failed to invoke 'Add' due to an error on the server.");
    await assertFails(ann.invoke("Add", 1, "x"), "Failed to invoke 'Add' due to an error on the server.");
    await assertFails(ann.invoke("Secret"), "Failed to invoke 'Secret' because user is unauthorized");
    await assertAnswers(ann);
  },

  async "calls without a result are executed in order"(session) {
    const ann = await session.join();
    await ann.connection.send("Fail", "unheard");
    for (const text of ["one", "two", "three"]) await ann.connection.send("Send", session.room, text);
    for (const text of ["one", "two", "three"]) assertEqual(await ann.messages.next(), ["ann", text]);
  },

  async "group messages reach clients of each transport and format"(session) {
    const clients = [await session.join(), await session.join()];
    for (const [transport, format] of [["WebSockets", "json"], ["WebSockets", "messagepack"], ["LongPolling", "json"]]) {
      clients.push(await session.join({ transport, format }));
    }
    for (const [at, { invoke }] of clients.entries()) await invoke("Send", session.room, `żółw ${at}`);
    for (const { messages } of clients) {
      for (const at of clients.keys()) assertEqual(await messages.next(), ["ann", `żółw ${at}`]);
    }
    await clients[0].invoke("SendToOthers", session.room, "others");
    await clients[1].invoke("LeaveRoom", session.room);
    await clients[1].invoke("Send", session.room, "last");
    assertEqual(await clients[0].messages.next(), ["ann", "last"]);
    assertEqual(await clients[1].messages.next(), ["ann", "others"]);
  },

  async "bytes are equal in and out"(session) {
    const ann = await session.connect();
    for (const length of [0, 1, 2, 3, 255, 256, 30_000, 60_000]) {
      const data = bytes(length);
      if (session.isPacked) assertEqual(Uint8Array.from(await ann.invoke("Bytes", data)), data);
      else assertEqual(await ann.invoke("Bytes", toBase64(data)), toBase64(data));
    }
    assertEqual(await ann.invoke("Bytes", null), null);
  },

  async "a refused connection is closed with the error"(session) {
    if (!learnsOfRefusal(session)) return;
    const expectError = async (kind, text) => {
      const ann = session.build({ query: `&fail=${kind}` });
      // The close may arrive before the start completes.
      const error = await ann.connection.start().then(() => ann.closed, ({ message }) => message);
      assertEqual(error, `Server returned an error on close: ${text}`);
    };
    await expectError("hub", "Connection closed with an error. HubException: told so");
    await expectError("other", "Connection closed with an error.");
  },

  async "a stopped connection ends its calls"(session) {
    // That client sends requests side by side, so its stop can overtake the call.
    if (!session.isModern && session.transport !== "WebSockets") return;
    const ann = await session.connect();
    const held = assertFails(ann.invoke("Hold", `${session.room} never`), session.stopError);
    // The client sends one message after the other, so the server has the call once this is sent.
    await ann.connection.send("Echo", "x");
    await ann.connection.stop();
    await held;
    assertEqual(await ann.closed, null);
    await ann.connection.start();
    await assertAnswers(ann);
  },
};

// Features of @microsoft/signalr.
const MODERN = {
  async "the client knows its connection id"(session) {
    const ann = await session.connect();
    assertEqual(await ann.invoke("WhoAmI"), ann.connection.connectionId);
  },

  async "clients return results"(session) {
    const ann = await session.connect();
    const bob = await session.connect();
    const ask = (question = "?") => ann.invoke("Ask", bob.connection.connectionId, question);
    await assertFails(ask(), invocationError("Ask", "HubException: Client didn't provide a result."));
    bob.connection.on("ask", async (question) => `${question} żółw`);
    assertEqual(await ask("which"), "which żółw");
    assertEqual(await Promise.all(numbers(20).map((number) => ask(`${number}`))), numbers(20).map((number) => `${number} żółw`));
    bob.connection.off("ask");
    bob.connection.on("ask", () => { throw new Error("no idea"); });
    await assertFails(ask(), invocationError("Ask", "HubException: Error: no idea"));
    bob.connection.off("ask");
    bob.connection.on("ask", () => {});
    await assertFails(ask(), invocationError("Ask", "HubException: Client didn't provide a result."));
    await assertAnswers(bob);
  },

  async "timestamps are equal in and out"(session) {
    const ann = await session.connect();
    for (const text of ["1970-01-01T00:00:00Z", "2024-02-29T12:34:56.789Z", "1901-12-13T20:45:52.5Z", "9999-12-31T23:59:59.9999999Z"]) {
      const value = session.isPacked ? new Date(text) : text;
      assertEqual(await ann.invoke("Time", value), value);
    }
  },

  async "floating point numbers are equal in and out"(session) {
    const ann = await session.connect();
    for (const number of [0, 1.5, -1e300, 5e-324, Number.MAX_VALUE]) assertEqual(await ann.invoke("Double", number), number);
    if (!session.isPacked) return assertFails(ann.invoke("Double", NaN), "Failed to invoke 'Double' due to an error on the server.");
    for (const number of [NaN, Infinity, -Infinity]) assertEqual(await ann.invoke("Double", number), number);
  },

  async "integers are equal in and out"(session) {
    const ann = await session.connect();
    for (const number of [0, -1, 2 ** 31, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) assertEqual(await ann.invoke("Long", number), number);
    if (!session.isPacked) return assertFails(ann.invoke("Long", 2 ** 63), "Failed to invoke 'Long' due to an error on the server.");
    const bob = await session.connect({ protocol: { bigIntegers: true } });
    for (const number of [-(2n ** 63n), 2n ** 63n - 1n]) assertEqual(await bob.invoke("Long", number), number);
    assertEqual(await bob.invoke("Any", 2n ** 63n), 2n ** 63n);
    await assertFails(bob.invoke("Long", 2n ** 63n), "Failed to invoke 'Long' due to an error on the server.");
  },

  async "maps with integer keys are equal in and out"(session) {
    const ann = await session.connect({ protocol: { bigIntegers: true } });
    const map = { 1: "one", "-70000": "minus seventy thousand" };
    const sent = session.isPacked ? new Map(Object.entries(map).map(([key, value]) => [Number(key), value])) : map;
    for (const method of ["IntegerKeys", "Any"]) assertEqual(await ann.invoke(method, sent), map);
  },

  async "a lost connection is replaced"(session) {
    const ann = await session.join({ reconnects: true });
    const bob = await session.connect({ reconnects: true });
    const id = ann.connection.connectionId;
    const held = ann.invoke("Hold", `${session.room} never`).then(() => "returned", () => "failed");
    await session.network.disconnect();
    await Promise.all([ann.reconnecting, bob.reconnecting]);
    await session.network.connect();
    assertEqual(await held, "failed");
    const newId = await ann.reconnected;
    assertEqual([newId === id, await ann.invoke("WhoAmI")], [false, newId]);
    await bob.reconnected;
    await bob.invoke("Send", session.room, "missed");
    await ann.invoke("JoinRoom", session.room);
    await bob.invoke("Send", session.room, "received");
    assertEqual(await ann.messages.next(), ["ann", "received"]);
  },

  async "a refused connection does not reconnect"(session) {
    if (!learnsOfRefusal(session)) return;
    const ann = session.build({ query: "&fail=hub", reconnects: true });
    const error = await ann.connection.start().then(() => ann.closed, ({ message }) => message);
    assertEqual(error, "Server returned an error on close: Connection closed with an error. HubException: told so");
    assertEqual(ann.connection.state, "Disconnected");
  },
};

// The features of a client: @microsoft/signalr, or its predecessor @aspnet/signalr.
export const featuresOf = (isModern) =>
  isModern ? { ...BASIC, ...MODERN, ...streams.BASIC, ...streams.MODERN } : { ...BASIC, ...streams.BASIC };
