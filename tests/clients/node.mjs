// Scenarios of the official client for Node: node.mjs SCENARIO URL. Ends with 0, or says what is wrong.
// It is started where the packages are, so that the repository holds none of them.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const signalR = require("@microsoft/signalr");

const [scenario, base] = process.argv.slice(2);

// What a client hears, one after the other.
class Heard {
  #lines = [];
  #waiting = [];
  add(line) { const waiting = this.#waiting.shift(); waiting ? waiting(line) : this.#lines.push(line); }
  next() { return this.#lines.length ? Promise.resolve(this.#lines.shift()) : new Promise((resolve) => this.#waiting.push(resolve)); }
  get isEmpty() { return this.#lines.length === 0; }
}

const builder = (url) => new signalR.HubConnectionBuilder().withUrl(url).configureLogging(signalR.LogLevel.None);

const listen = (connection) => {
  const heard = new Heard();
  connection.on("addChatMessage", (name, text) => heard.add(`${name}: ${text}`));
  return heard;
};

const connect = async (user, path = "chat") => {
  const connection = builder(`${base}/${path}?user=${user}`).build();
  const heard = listen(connection);
  await connection.start();
  return { connection, heard, call: (...call) => connection.invoke(...call) };
};

const fails = async (promise, text) => {
  const error = await promise.then(() => assert.fail(`must fail with: ${text}`), (error) => error);
  assert.equal(error.message, text);
};

const scenarios = {
  async calls() {
    const ann = await connect("ann");
    assert.equal(await ann.call("Add", 2, 3), 5);
    assert.equal(await ann.call("echo", "żółw 🐢"), "żółw 🐢");
    assert.equal(await ann.call("WhoAmI"), ann.connection.connectionId);
    await fails(ann.call("Missing"), "Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist.");
    await fails(ann.call("Fail", "boom"), "An unexpected error occurred invoking 'Fail' on the server. HubException: boom");
    await fails(ann.call("Add", 1), "Failed to invoke 'Add' due to an error on the server.");
    await ann.connection.stop();
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
    const expect = async ({ heard }, lines) => { for (const line of lines) assert.equal(await heard.next(), `ann: ${line}`); };
    await expect(ann, ["all", "not eve", "rest"]);
    await expect(bob, ["all", "others", "not eve", "rest"]);
    await expect(eve, ["all", "others", "you"]);
    for (const one of [ann, bob, eve]) {
      await one.call("Echo", "");
      assert.ok(one.heard.isEmpty);
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
    await fails(start("guarded"), `${negotiation}Unauthorized: Status code '401'`);
    const error = await start("nothing").catch((error) => error);
    assert.match(error.message, /Status code '404'/);
    const failing = builder(`${base}/chat?fail=hub`).build();
    const closed = new Promise((resolve) => failing.onclose(resolve));
    const told = await failing.start().then(() => closed, (error) => error); // it may be told before it has started
    assert.equal(told.message, "Server returned an error on close: Connection closed with an error. HubException: told so");
  },

  // Nothing but the few lines that the README shows: the token of the last moment, in the URL of the next connection.
  async returns() {
    let token = "1";
    const address = () => `${base}/chat?user=ann&rejoin=${token}`;
    const bob = await connect("bob");
    for (let turn = 0; turn < 3; turn++) {
      const connection = builder(address()).build();
      const heard = listen(connection);
      const tokens = new Heard();
      connection.on("hubcast:rejoinToken", (next) => { token = next; tokens.add(next); });
      await connection.start();
      await tokens.next();
      if (turn === 0) { await connection.invoke("JoinRoom", "lobby"); await tokens.next(); }
      await bob.call("Send", "lobby", `turn ${turn}`);
      assert.equal(await heard.next(), `bob: turn ${turn}`);
      await connection.stop();
    }
    await bob.connection.stop();
  },

  // The server is killed and started again by whoever reads this script's output.
  async survives() {
    const retries = { nextRetryDelayInMilliseconds: () => 50 };
    let token = "1";
    const url = () => `${base}/chat?user=ann&rejoin=${token}`;
    const connection = builder(url()).withAutomaticReconnect(retries).build();
    connection.on("hubcast:rejoinToken", (next) => { token = next; });
    connection.onreconnecting(() => { connection.baseUrl = url(); });
    const heard = listen(connection);
    await connection.start();
    await connection.invoke("AddToRoom", "for good");
    await connection.invoke("JoinRoom", "for now");
    await connection.invoke("Send", "for now", "before");
    assert.equal(await heard.next(), "ann: before");
    const back = new Promise((resolve) => connection.onreconnected(resolve));
    console.log("ready");
    await back;
    for (const room of ["for good", "for now"]) {
      await connection.invoke("Send", room, room);
      assert.equal(await heard.next(), `ann: ${room}`);
    }
    await connection.stop();
  },
};

assert.ok(scenarios[scenario], `no such scenario: ${scenario}`);
await scenarios[scenario]();
process.exit(0);
