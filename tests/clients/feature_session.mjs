// The connections of one feature test, over one transport with one format. Node and a page use this file alike.

import { AsyncQueue } from "./async_queue.mjs";

export const PAIRS = [
  ["WebSockets", "json"], ["WebSockets", "messagepack"], ["ServerSentEvents", "json"], ["LongPolling", "json"], ["LongPolling", "messagepack"],
];

const TIMEOUT_MS = 30_000;

// Rejects after the time limit of a test.
const deadline = (what) => new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: timed out`)), TIMEOUT_MS));

// A value as text, so that two values can be compared.
const describe = (value) => {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (value instanceof Date) return `Date(${value.getTime()})`;
  if (ArrayBuffer.isView(value)) return `Bytes(${value.length}: ${value.join()})`;
  if (Array.isArray(value)) return `[${value.map(describe).join()}]`;
  if (value !== null && typeof value === "object") return `{${Object.keys(value).sort().map((key) => `${key}:${describe(value[key])}`).join()}}`;
  return JSON.stringify(value) ?? "undefined";
};

export const assertEqual = (found, expected) => {
  const [one, other] = [found, expected].map(describe);
  if (one !== other) throw new Error(`found ${one.slice(0, 500)}, expected ${other.slice(0, 500)}`);
};

// The promise rejects with this text.
export const assertFails = async (promise, text) => {
  const found = await promise.then((value) => `the value ${describe(value)}`, (error) => error.message);
  assertEqual(found, text);
};

// Reads a stream to its end. `items` are the items so far, `ended` is the text of its error, or null.
export const readStream = (stream) => {
  const items = new AsyncQueue();
  let subscription;
  const ended = new Promise((resolve) => {
    subscription = stream.subscribe({ next: (item) => items.add(item), error: (error) => resolve(error.message), complete: () => resolve(null) });
  });
  return { items, ended, cancel: () => subscription.dispose() };
};

// All items of a stream, and the text of its error or null.
export const collect = (stream) => new Promise((resolve) => {
  const items = [];
  stream.subscribe({ next: (item) => items.push(item), error: (error) => resolve([items, error.message]), complete: () => resolve([items, null]) });
});

// The rejection of a promise that @microsoft/signalr keeps to itself: it was stopped before it had sent the end of an
// upload. The state of its transport and of the connection at the server decides the text.
export const isLateSend = (reason) =>
  reason === "Connection stopped." || reason?.isLate || /^Cannot send (data if|until)/.test(reason?.message);

// An HTTP client that marks a refusal as late if its connection has been stopped. The server knows that connection no more.
const createHttpClient = ({ DefaultHttpClient, NullLogger }, isStopped) => {
  class MarkingHttpClient extends DefaultHttpClient {
    async send(request) {
      try {
        return await super.send(request);
      } catch (error) {
        error.isLate = error.statusCode === 404 && isStopped();
        throw error;
      }
    }
  }
  return new MarkingHttpClient(NullLogger.instance);
};

// A session creates connections and stops them at the end.
class FeatureSession {
  #setup;
  #connections = [];

  // `setup` has the members signalR, isModern, createProtocol, url and network. `createProtocol` receives a format and options.
  constructor(setup, [transport, format], room) {
    const { signalR, isModern, network } = setup;
    Object.assign(this, { transport, format, isPacked: format === "messagepack", room, signalR, isModern, network });
    this.#setup = setup;
  }

  // The error of calls that are pending when the connection stops.
  get stopError() {
    return `Invocation canceled due to ${this.isModern ? "the underlying " : ""}connection being closed.`;
  }

  // A client that has not been started.
  build({ query = "", reconnects = false, protocol = {}, transport = this.transport, format = this.format } = {}) {
    const { signalR, createProtocol, url } = this.#setup;
    let isStopped = false;
    const httpClient = createHttpClient(signalR, () => isStopped);
    const builder = new signalR.HubConnectionBuilder()
      .withUrl(`${url}?user=ann${query}`, { transport: signalR.HttpTransportType[transport], httpClient })
      .withHubProtocol(createProtocol(format, protocol))
      .configureLogging(signalR.LogLevel.None);
    if (reconnects) builder.withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 50 });
    const connection = builder.build();
    const stop = connection.stop.bind(connection);
    connection.stop = () => { isStopped = true; return stop(); };
    this.#connections.push(connection);
    const messages = new AsyncQueue();
    connection.on("addChatMessage", (...message) => messages.add(message));
    const closed = new Promise((resolve) => connection.onclose((error) => resolve(error?.message ?? null)));
    const reconnecting = reconnects && new Promise((resolve) => connection.onreconnecting(resolve));
    const reconnected = reconnects && new Promise((resolve) => connection.onreconnected(resolve));
    return { connection, messages, closed, reconnecting, reconnected, invoke: (...call) => connection.invoke(...call), stream: (...call) => connection.stream(...call) };
  }

  // A connected client.
  async connect(options) {
    const client = this.build(options);
    await client.connection.start();
    return client;
  }

  // A connected client in the room of the test.
  async join(options) {
    const client = await this.connect(options);
    await client.invoke("JoinRoom", this.room);
    return client;
  }

  stop() {
    return Promise.all(this.#connections.map((connection) => connection.stop()));
  }
}

// Runs features, one after another, and returns a line for each that fails. `features` maps names to functions of a session.
export const runFeatures = async (features, setup, pair) => {
  const failures = [];
  for (const [name, feature] of Object.entries(features)) {
    const session = new FeatureSession(setup, pair, `${pair.join(" ")} ${name}`);
    try {
      await Promise.race([feature(session), deadline("the feature")]);
      await Promise.race([session.stop(), deadline("stopping the connections")]);
    } catch (error) {
      failures.push(`${pair.join("/")}: ${name}: ${error.stack}`);
    }
  }
  return failures;
};
