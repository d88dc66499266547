// Scenarios of the example `user_connections`. Usage: user_connections.mjs SCENARIO URL. Exits with 0, or prints the error.
import assert from "node:assert/strict";

import { assertFails, classic, connectMany, core, expectMessage, printStep, run } from "./sample_clients.mjs";

const CLIENTS = 8;
const hub = "chatHub";

const send = (client, who, text) => client.call("SendChatMessage", who, text);

// Sends until the user is offline: the server learns the end of connections a moment after their clients.
const untilOffline = async (client, who) => {
  while (await send(client, who, "still there?") !== "offline");
};

// Samples 8 and 10: a user with capitals connects several times at once for the first time, is found, and goes.
const mapUser = async (user) => {
  const [connections, bob] = [await connectMany(hub, user, CLIENTS), await core(hub, "bob")];
  for (const who of [user, user.toLowerCase(), ` ${user.toUpperCase()} `]) {
    assert.deepEqual(await send(bob, who, "hi"), { sent: CLIENTS });
    await expectMessage(connections, "bob: hi");
  }
  await Promise.all(connections.map((connection) => connection.stop()));
  await untilOffline(bob, user);
  assert.deepEqual(await bob.errors.next(), ["The user is no longer connected."]);
  assert.ok(bob.errors.isEmpty);
  const back = await core(hub, user);
  assert.deepEqual(await send(bob, user, "again"), { sent: 1 });
  await expectMessage([back], "bob: again");
  printStep("ready");
  await new Promise(() => {}); // The connections stay until the test ends the process.
};

// The connections of the server that was killed are not found.
const mapRestarted = async (user) => {
  const bob = await core(hub, "bob");
  assert.equal(await send(bob, user, "are you there?"), "offline");
  assert.deepEqual(await bob.errors.next(), ["The user is no longer connected."]);
  const back = await core(hub, user);
  assert.deepEqual(await send(bob, user, "again"), { sent: 1 });
  await expectMessage([back], "bob: again");
};

await run({
  // Samples 1 to 3.
  async provider() {
    const [ann, bob] = [await connectMany("myHub", "Ann", 2), await classic("myHub", "bob")];
    for (const name of ["ann", "ANN", " Ann "]) {
      assert.deepEqual(await bob.call("Send", name, "hi"), { sent: 2 });
      await expectMessage(ann, "hi");
    }
    assert.equal(await bob.call("Send", "zoe", "hi"), "offline");
    assert.equal(await bob.call("Send", "", "hi"), "unknown");
    await assertFails(core("myHub", ""), /Unauthorized/);
  },

  // Samples 4 and 5. Messages are sent to a user whose connections come and go.
  async inMemory() {
    const [ann, bob] = [await connectMany(hub, "Ann", 2), await core(hub, "bob")];
    assert.deepEqual(await send(bob, "ann", "hi"), { sent: 2 });
    await expectMessage(ann, "bob: hi");
    assert.equal(await bob.call("Count"), 2);
    const comeAndGo = async () => {
      for (let time = 0; time < 5; time++) await (await core(hub, "eve")).stop();
    };
    const coming = Promise.all(Array.from({ length: CLIENTS }, comeAndGo));
    let isOver = false;
    coming.finally(() => { isOver = true; });
    for (let sent = 0; !isOver; sent++) {
      const result = await send(bob, "eve", `message ${sent}`);
      assert.ok(result === "offline" || (result.sent > 0 && result.sent <= CLIENTS), JSON.stringify(result));
    }
    await coming;
    await untilOffline(bob, "eve");
    await Promise.all(ann.map((connection) => connection.stop()));
    await untilOffline(bob, "ann");
    assert.equal(await bob.call("Count"), 1, "a user without connections is no key");
  },

  // Sample 6.
  async groupPerUser() {
    const [ann, bob, eve] = [await connectMany(hub, "Ann", 2), await classic(hub, "bob"), await core(hub, "eve")];
    for (const room of ["ann", "user ann"]) assert.equal(await bob.call("JoinRoom", room), true);
    assert.deepEqual(await send(eve, "ann", "for ann only"), { sent: 2 });
    await expectMessage(ann, "eve: for ann only");
    assert.equal(await send(eve, "zoe", "hi"), "offline");
    assert.equal(await bob.call("JoinRoom", "ann"), false);
    assert.ok(bob.messages.isEmpty);
  },

  // Samples 7 and 8.
  async database() {
    const eve = await classic(hub, "eve");
    assert.equal(await send(eve, "zoe", "hi"), "unknown");
    assert.deepEqual(await eve.errors.next(), ["Could not find that user."]);
    await mapUser("Nina");
  },
  databaseRestarted: () => mapRestarted("Nina"),

  // Samples 9 and 10. A key of the table cannot contain these characters.
  table: () => mapUser("Nina/1#"),
  tableRestarted: () => mapRestarted("Nina/1#"),
});
