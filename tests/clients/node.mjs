// Scenarios of the official ASP.NET Core SignalR client under Node. Usage: node.mjs SCENARIO URL. Exits with 0, or prints
// the error. The working directory must contain the npm packages, because the repository does not.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

import { enableRejoin } from "../../clients/js/hubcast-rejoin.js";
import { AsyncQueue } from "./async_queue.mjs";

const require = createRequire(`${process.cwd()}/`);
const signalR = require("@microsoft/signalr");

const [scenario, base] = process.argv.slice(2);

const builder = (url) => new signalR.HubConnectionBuilder().withUrl(url).configureLogging(signalR.LogLevel.None);

const collectMessages = (connection) => {
  const messages = new AsyncQueue();
  connection.on("addChatMessage", (name, text) => messages.add(`${name}: ${text}`));
  return messages;
};

const connect = async (user, path = "chat") => {
  const connection = builder(`${base}/${path}?user=${user}`).build();
  const messages = collectMessages(connection);
  await connection.start();
  return { connection, messages, call: (...call) => connection.invoke(...call) };
};

const assertFails = async (promise, text) => {
  const error = await promise.then(() => assert.fail(`must fail with: ${text}`), (error) => error);
  assert.equal(error.message, text);
};

const scenarios = {
  async calls() {
    const ann = await connect("ann");
    assert.equal(await ann.call("Add", 2, 3), 5);
    assert.equal(await ann.call("echo", "żółw 🐢"), "żółw 🐢");
    assert.equal(await ann.call("WhoAmI"), ann.connection.connectionId);
    await assertFails(ann.call("Missing"), "Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist.");
    await assertFails(ann.call("Fail", "boom"), "An unexpected error occurred invoking 'Fail' on the server. HubException: boom");
    await assertFails(ann.call("Add", 1), "Failed to invoke 'Add' due to an error on the server.");
    await ann.connection.stop();
  },

  // `front` redirects to an endpoint for members, with a token.
  async redirect() {
    const ann = await connect("ann", "front");
    assert.equal(await ann.call("Secret"), "for members");
    assert.equal(await ann.call("Query", "tenant"), "7");
    assert.equal(await ann.call("WhoAmI"), ann.connection.connectionId);
    await ann.connection.stop();
    const bob = await connect("bob&stay=1", "front");
    await assertFails(bob.call("Secret"), "Failed to invoke 'Secret' because user is unauthorized");
    await bob.connection.stop();
  },

  // `front` redirects to another server, which restores the groups.
  async rejoinOverRedirect() {
    const connection = builder(`${base}/front?user=ann`).build();
    const messages = collectMessages(connection);
    const rejoin = enableRejoin(connection);
    await connection.start();
    await connection.invoke("JoinRoom", "lobby");
    await connection.stop();
    await connection.start();
    assert.deepEqual((await rejoin.report()).groups, { chat: ["lobby"] });
    await connection.invoke("Send", "lobby", "hello");
    assert.equal(await messages.next(), "ann: hello");
    await connection.stop();
  },

  async groups() {
    const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((user) => connect(user)));
    for (const one of [ann, bob, eve]) await one.call("JoinRoom", "lobby");
    await ann.call("Send", "lobby", "all");
    await ann.call("SendToOthers", "lobby", "others");
    await ann.call("SendExcept", "lobby", "not eve", [eve.connection.connectionId]);
    await eve.call("LeaveRoom", "lobby");
    await ann.call("Send", "lobby", "rest");
    await ann.call("SendToUser", "eve", "you");
    const expect = async ({ messages }, lines) => { for (const line of lines) assert.equal(await messages.next(), `ann: ${line}`); };
    await expect(ann, ["all", "not eve", "rest"]);
    await expect(bob, ["all", "others", "not eve", "rest"]);
    await expect(eve, ["all", "others", "you"]);
    for (const one of [ann, bob, eve]) {
      await one.call("Echo", "");
      assert.ok(one.messages.isEmpty);
      await one.connection.stop();
    }
  },

  async skipsNegotiation() {
    const options = { skipNegotiation: true, transport: signalR.HttpTransportType.WebSockets };
    const connection = new signalR.HubConnectionBuilder().withUrl(`${base}/chat`, options).configureLogging(signalR.LogLevel.None).build();
    await connection.start();
    assert.equal(connection.connectionId, null);
    assert.equal(await connection.invoke("Add", 1, 1), 2);
    await connection.stop();
  },

  async refusals() {
    const start = (path) => builder(`${base}/${path}`).build().start();
    const negotiation = "Failed to complete negotiation with the server: Error: ";
    await assertFails(start("guarded"), `${negotiation}Unauthorized: Status code '401'`);
    const error = await start("nothing").catch((error) => error);
    assert.match(error.message, /Status code '404'/);
    const failing = builder(`${base}/chat?fail=hub`).build();
    const closed = new Promise((resolve) => failing.onclose(resolve));
    const closeError = await failing.start().then(() => closed, (error) => error); // the close may arrive before the start completes
    assert.equal(closeError.message, "Server returned an error on close: Connection closed with an error. HubException: told so");
  },

  // The test that reads this script's output kills and restarts the server after "ready".
  async serverRestart() {
    const retries = { nextRetryDelayInMilliseconds: () => 50 };
    const connection = builder(`${base}/chat?user=ann`).withAutomaticReconnect(retries).build();
    enableRejoin(connection);
    const messages = collectMessages(connection);
    await connection.start();
    await connection.invoke("AddToRoom", "durable");
    await connection.invoke("JoinRoom", "temporary");
    await connection.invoke("Send", "temporary", "before");
    assert.equal(await messages.next(), "ann: before");
    const back = new Promise((resolve) => connection.onreconnected(resolve));
    console.log("ready");
    await back;
    for (const room of ["durable", "temporary"]) {
      await connection.invoke("Send", room, room);
      assert.equal(await messages.next(), `ann: ${room}`);
    }
    await connection.stop();
  },
};

assert.ok(scenarios[scenario], `no such scenario: ${scenario}`);
await scenarios[scenario]();
process.exit(0);
