// Clients of the examples that port Microsoft's samples: the official client of ASP.NET Core SignalR, and signalr-client for
// classic ASP.NET SignalR, under Node. Scripts are called with SCENARIO URL. The working directory must contain the npm
// packages, because the repository does not.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

import { enableRejoin } from "../../clients/js/hubcast-rejoin.js";
import { AsyncQueue } from "./async_queue.mjs";

const require = createRequire(`${process.cwd()}/`);
const signalR = require("@microsoft/signalr");
const classicSignalR = require("signalr-client");

export const [scenario, base] = process.argv.slice(2);

// signalr-client logs to the standard output, from which the test reads the steps.
console.log = console.error;
export const printStep = (step) => process.stdout.write(`${step}\n`);

export const assertFails = async (promise, pattern) => {
  const error = await promise.then(() => assert.fail(`must fail with ${pattern}`), (error) => error);
  assert.match(error.message, pattern);
};

// The client methods of the samples. Errors are queued by themselves.
const METHODS = ["addChatMessage", "send", "showErrorMessage"];
const newQueues = (on) => {
  const messages = new AsyncQueue(), errors = new AsyncQueue();
  for (const method of METHODS) on(method, (...values) => (method === "showErrorMessage" ? errors : messages).add(values));
  return { messages, errors };
};

// The bearer token is the name of the user.
export const core = async (hub, user, { rejoins = false } = {}) => {
  const connection = new signalR.HubConnectionBuilder()
    .withUrl(`${base}/${hub}`, { accessTokenFactory: () => user }).configureLogging(signalR.LogLevel.None).build();
  const queues = newQueues((method, handler) => connection.on(method, handler));
  const rejoin = rejoins ? enableRejoin(connection) : null;
  await connection.start();
  // A client has started before OnConnected has run. Its first call is handled afterwards.
  await assertFails(connection.invoke("NoSuchMethod"), /Method does not exist\./);
  return {
    ...queues, connection, rejoin,
    get id() { return connection.connectionId; },
    call: (...call) => connection.invoke(...call),
    stop: () => connection.stop(),
  };
};

export const classic = (hub, user) => new Promise((resolve, reject) => {
  const client = new classicSignalR.client(`${base}/signalr`, [hub], 1, true);
  client.headers = { Authorization: `Bearer ${user}` };
  client.queryString = { access_token: user }; // It sends no headers when it stops.
  const queues = newQueues((method, handler) => client.on(hub, method, handler));
  const call = (...call) => new Promise((done, failed) => client.call(hub, ...call).done((error, result) => (error ? failed(new Error(error)) : done(result))));
  const connected = () => resolve({ ...queues, call, get id() { return client.connection.id; }, stop: async () => client.end() });
  client.serviceHandlers = { bound() {}, connected, onerror: reject, connectFailed: reject, disconnected() {} };
  client.start();
});

// Connects `count` clients of a user at the same time, alternately of the two kinds.
export const connectMany = (hub, user, count) =>
  Promise.all(Array.from({ length: count }, (_, at) => (at % 2 ? classic : core)(hub, user)));

// Each of the clients receives these arguments next.
export const expectMessage = async (clients, ...values) => {
  for (const client of clients) assert.deepEqual(await client.messages.next(), values);
};

// Runs the scenario that the command line names, and ends the process.
export const run = async (scenarios) => {
  assert.ok(scenarios[scenario], `no such scenario: ${scenario}`);
  await scenarios[scenario]();
  process.exit(0);
};
