// Streams in both directions. Node and a page run these functions alike.
import { assertEqual, assertFails, collect, readStream } from "./feature_session.mjs";

const invocationError = (method, text) => `An unexpected error occurred invoking '${method}' on the server. ${text}`;
const numbers = (count) => Array.from({ length: count }, (_, index) => index);
const assertAnswers = async ({ invoke }) => assertEqual(await invoke("Add", 2, 3), 5);

// Features of all versions of the client.
export const BASIC = {
  async "streams deliver their items in order"(session) {
    const ann = await session.connect();
    assertEqual(await collect(ann.stream("Channel", 0)), [[], null]);
    assertEqual(await collect(ann.stream("Count", 3, 20)), [[0, 1, 2], null]);
    const streams = [ann.stream("Count", 200, 0), ann.stream("Channel", 100), ann.stream("Count", 4, 10)];
    assertEqual(await Promise.all(streams.map(collect)), [200, 100, 4].map((count) => [numbers(count), null]));
  },

  async "cancelled streams are dropped"(session) {
    if (session.isPacked && !session.isModern) return; // that client cannot write the cancellation
    const ann = await session.connect();
    const bob = await session.join();
    const stream = readStream(ann.stream("Forever", session.room));
    assertEqual(await stream.items.next(), 0);
    stream.cancel();
    assertEqual(await bob.messages.next(), ["stream", "cancelled"]);
    await assertAnswers(ann);
  },

  async "streams end with an error"(session) {
    const ann = await session.connect();
    assertEqual(await collect(ann.stream("CountFail", 2, "hub")), [[0, 1], "An error occurred on the server while streaming results. HubException: told so"]);
    assertEqual(await collect(ann.stream("CountFail", 0, "other")), [[], "An error occurred on the server while streaming results."]);
    assertEqual(await collect(ann.stream("StreamThrow", "hub")), [[], invocationError("StreamThrow", "HubException: told so")]);
    assertEqual(await collect(ann.stream("Echo", "x")), [[], "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation."]);
    await assertFails(ann.invoke("Channel", 3), "The client attempted to invoke the streaming 'Channel' method with a non-streaming invocation.");
    assertEqual(await collect(ann.stream("Missing")), [[], "Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist."]);
  },

  async "a stopped connection ends its streams"(session) {
    const ann = await session.connect();
    const bob = await session.join();
    const stream = readStream(ann.stream("Forever", session.room));
    assertEqual(await stream.items.next(), 0);
    await ann.connection.stop();
    assertEqual(await stream.ended, session.stopError);
    assertEqual(await bob.messages.next(), ["stream", "cancelled"]);
  },
};

// Features of @microsoft/signalr.
export const MODERN = {
  async "uploaded items reach the method in order"(session) {
    const ann = await session.join();
    const upload = (items) => {
      const subject = new session.signalR.Subject();
      return { subject, send: () => { items.forEach((item) => subject.next(item)); subject.complete(); } };
    };
    const [sum, first, second] = [upload(numbers(101)), upload([1, 2]), upload(["a", "b"])];
    const results = [ann.invoke("Sum", sum.subject), ann.invoke("Two", first.subject, " and ", second.subject)];
    for (const { send } of [second, sum, first]) send();
    assertEqual(await Promise.all(results), [5050, "3 and ab"]);
    const relayed = upload(["x", "y"]);
    await ann.connection.send("Relay", session.room, relayed.subject);
    relayed.send();
    for (const message of [["item", "x"], ["item", "y"], ["end", ""]]) assertEqual(await ann.messages.next(), message);
    await assertAnswers(ann);
  },

  async "a method returns while its caller uploads"(session) {
    const ann = await session.connect();
    const subject = new session.signalR.Subject();
    const first = ann.invoke("FirstOf", subject);
    subject.next(7);
    assertEqual(await first, 7);
    subject.next(8);
    subject.complete();
    await assertAnswers(ann);
  },

  async "a failed upload ends with its error"(session) {
    const ann = await session.join();
    const subject = new session.signalR.Subject();
    await ann.connection.send("Relay", session.room, subject);
    subject.next("x");
    subject.error("boom");
    assertEqual(await ann.messages.next(), ["item", "x"]);
    assertEqual(await ann.messages.next(), ["HubException", "boom"]);
    await assertAnswers(ann);
  },

  async "a stream answers an upload item by item"(session) {
    const ann = await session.connect();
    const subject = new session.signalR.Subject();
    const { items, ended } = readStream(ann.stream("EchoStream", subject));
    for (const text of ["one", "żółw 🐢", ""]) {
      subject.next(text);
      assertEqual(await items.next(), text);
    }
    subject.complete();
    assertEqual(await ended, null);
    await assertAnswers(ann);
  },

  async "a lost connection ends its streams"(session) {
    const ann = await session.connect({ reconnects: true });
    const stream = readStream(ann.stream("Forever", `${session.room} stream`));
    assertEqual(await stream.items.next(), 0);
    await session.network.disconnect();
    await ann.reconnecting;
    await session.network.connect();
    assertEqual(await stream.ended === null, false);
    await ann.reconnected;
    assertEqual(await collect(ann.stream("Channel", 3)), [[0, 1, 2], null]);
  },
};
