// Scenarios of the example `groups_page`. Usage: groups_page.mjs SCENARIO URL. Exits with 0, or prints the error.
import assert from "node:assert/strict";

import { assertFails, classic, connectMany, core, expectMessage, printStep, run } from "./sample_clients.mjs";

const CLIENTS = 8;

// The rooms of a user: all its connections join and leave, and its next connection is a member from the start.
const membersOfRooms = async (user, room) => {
  const [connections, bob] = [await connectMany("chatHub", user, CLIENTS), await core("chatHub", "bob")];
  assert.deepEqual(await connections[0].call("AddToRoom", room), { changed: true, connections: CLIENTS });
  assert.deepEqual(await connections[1].call("AddToRoom", room), { changed: false, connections: 0 });
  assert.equal(await bob.call("Send", room, "to members"), CLIENTS);
  await expectMessage(connections, "bob", "to members");
  assert.deepEqual(await connections[1].call("RemoveFromRoom", room), { changed: true, connections: CLIENTS });
  assert.deepEqual(await connections[0].call("RemoveFromRoom", room), { changed: false, connections: 0 });
  assert.equal(await bob.call("Send", room, "to nobody"), 0);
  assert.deepEqual(await connections[0].call("AddToRoom", room), { changed: true, connections: CLIENTS });
  const next = await classic("chatHub", user);
  assert.equal(await bob.call("Send", room, "at once"), CLIENTS + 1);
  await expectMessage([next, ...connections], "bob", "at once");
};

// The user is still a member after a restart of the server.
const memberAfterRestart = async (user, room) => {
  const [member, bob] = [await core("chatHub", user), await core("chatHub", "bob")];
  assert.equal(await bob.call("Send", room, "welcome back"), 1);
  await expectMessage([member], "bob", "welcome back");
};

await run({
  // Samples 1 and 3 to 5.
  async rooms() {
    const hub = "contosoChatHub";
    const [ann, bob, eve] = [await core(hub, "ann"), await classic(hub, "bob"), await core(hub, "eve")];
    for (const one of [ann, bob]) assert.deepEqual([await one.call("JoinRoom", "lobby"), await one.call("JoinRoom", "lobby")], [true, false]);
    assert.equal(await eve.call("LeaveRoom", "lobby"), false, "it is no member, and is answered at once");
    assert.equal(await ann.call("Send", "lobby", "all"), 2);
    await expectMessage([ann, bob], "ann", "all");
    assert.equal(await ann.call("Send", "nowhere", "lost"), 0);
    assert.equal(await ann.call("SendExcept", "lobby", "not bob", [bob.id, "no connection"]), 1);
    await expectMessage([ann], "ann", "not bob");
    assert.equal(await bob.call("SendExcept", "lobby", "except nobody", []), 2);
    await expectMessage([ann, bob], "bob", "except nobody");
    assert.equal(await ann.call("SendToOthers", "lobby", "others"), 1);
    await expectMessage([bob], "ann", "others");
    assert.equal(await eve.call("SendToOthers", "lobby", "from outside"), 2);
    await expectMessage([ann, bob], "eve", "from outside");
    assert.equal(await bob.call("LeaveRoom", "lobby"), true);
    assert.equal(await ann.call("Send", "lobby", "rest"), 1);
    await expectMessage([ann], "ann", "rest");
    await bob.call("LeaveRoom", "lobby");
    assert.ok(ann.messages.isEmpty && bob.messages.isEmpty && eve.messages.isEmpty);
    await assertFails((await core(hub, "")).call("Send", "lobby", "anonymous"), /Sign in first\./);
  },

  // Sample 2.
  async announcements() {
    const [ann, bob] = [await core("announcingChatHub", "ann"), await classic("announcingChatHub", "bob")];
    assert.equal(await ann.call("JoinRoom", "lobby"), true);
    await expectMessage([ann], "ann joined.");
    assert.equal(await bob.call("JoinRoom", "lobby"), true);
    await expectMessage([ann, bob], "bob joined.");
    assert.equal(await bob.call("JoinRoom", "lobby"), false);
    await assertFails((await core("announcingChatHub", "")).call("JoinRoom", "lobby"), /Sign in first\./);
    for (const one of [ann, bob]) assert.equal(await one.call("LeaveRoom", "nowhere"), false);
    assert.ok(ann.messages.isEmpty && bob.messages.isEmpty, "nobody is announced twice, or without a name");
  },

  // Samples 6 and 7.
  async database() {
    for (const connect of [core, classic]) {
      const eve = await connect("chatHub", "eve");
      for (const method of ["AddToRoom", "RemoveFromRoom"]) await assertFails(eve.call(method, "cellar"), /There is no room `cellar`\.$/);
    }
    await assertFails(core("chatHub", ""), /Unauthorized/);
    await membersOfRooms("nina", "lobby");
    printStep("ready");
    await new Promise(() => {}); // The connections stay until the test ends the process.
  },
  databaseRestarted: () => memberAfterRestart("nina", "lobby"),

  // Samples 8 and 9. A key of the table cannot contain these characters.
  table: () => membersOfRooms("ni/na#1", "a/room\\with?a#long name".repeat(8)),
  tableRestarted: () => memberAfterRestart("ni/na#1", "a/room\\with?a#long name".repeat(8)),

  // Samples 10 and 11. The rooms of the database are garden, kitchen and lobby.
  async rejoin() {
    const joinGuestRooms = async (client) => {
      for (const group of ["kitchen", "game 7"]) await client.call("JoinRoom", group);
      await client.call("Send", "nowhere", "x"); // The token that lists them has arrived before the result.
    };
    const reportAfterReconnect = async (client, whileAway = async () => {}) => {
      await client.stop();
      await whileAway();
      await client.connection.start();
      const { groups, refused } = await client.rejoin.report();
      await client.call("Send", "nowhere", "x"); // It is handled when the groups are joined.
      return { groups, refused };
    };
    const [ann, other] = [await core("chatHub", "ann", { rejoins: true }), await core("chatHub", "ann")];
    await ann.call("AddToRoom", "lobby");
    await joinGuestRooms(ann);
    const report = await reportAfterReconnect(ann, () => other.call("AddToRoom", "garden"));
    assert.deepEqual(report, { groups: { ChatHub: ["game 7", "garden", "lobby"] }, refused: null });
    assert.deepEqual([await other.call("Send", "kitchen", "x"), await other.call("Send", "game 7", "x")], [0, 1]);
    const guest = await core("chatHub", "guest", { rejoins: true });
    await joinGuestRooms(guest);
    assert.deepEqual(await reportAfterReconnect(guest), { groups: { ChatHub: ["game 7"] }, refused: null });
  },
});
