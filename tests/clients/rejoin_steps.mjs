// The steps of a client that rejoins its groups. Node and a page run them alike, with any version of @microsoft/signalr.

const assertEqual = (found, expected) => {
  const [one, other] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`found ${one}, expected ${other}`);
};

// A connected client. `setup` has the members signalR, enableRejoin, url, options, storage and room.
const connect = async (setup, key) => {
  const { signalR, enableRejoin, url, options, storage } = setup;
  const connection = new signalR.HubConnectionBuilder().withUrl(url, options).configureLogging(signalR.LogLevel.None)
    .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 50 }).build();
  const rejoin = enableRejoin(connection, { storage, key });
  const client = { connection, rejoin, onMessage() {} };
  connection.on("addChatMessage", (_, text) => client.onMessage(text));
  client.reconnected = new Promise((resolve) => connection.onreconnected(resolve));
  await connection.start();
  return client;
};

// A message to the room arrives.
const expectMessage = async (client, room) => {
  const text = crypto.randomUUID();
  const received = new Promise((resolve) => { client.onMessage = resolve; });
  await client.connection.invoke("Send", room, text);
  assertEqual(await received, text);
};

const expectRestored = async (client, room) => {
  const { groups, refused, lost } = await client.rejoin.report();
  assertEqual([groups, refused, lost], [{ chat: [room] }, null, 0]);
  await expectMessage(client, room);
};

const expectNoRoom = async ({ connection }, room) => assertEqual(await connection.invoke("LeaveRoom", room), false);

// A client in the room. It has presented no token yet.
export const joinRoom = async (setup) => {
  const client = await connect(setup);
  assertEqual(await client.rejoin.report(), null);
  await client.connection.invoke("JoinRoom", setup.room);
  await expectMessage(client, setup.room);
  return client;
};

// The client is back in its room: after an automatic reconnect, and after it was stopped and started by hand.
export const expectReturn = async (client, { room }) => {
  await client.reconnected;
  await expectRestored(client, room);
  await client.connection.stop();
  await client.connection.start();
  await expectRestored(client, room);
};

// A new client with the storage of an earlier one is back in the room, as after a page reload.
export const expectReturnFromStorage = async (setup) => {
  const { url, storage, room } = setup;
  const { origin, pathname } = new URL(url, globalThis.location?.href);
  const token = storage.getItem(`hubcast-rejoin:${origin}${pathname}`);
  const client = await connect(setup);
  await expectRestored(client, room);

  // Its token is used up, and another text is no token.
  for (const [value, refused] of [[token, "replayed"], ["nonsense", "malformed"]]) {
    storage.setItem("another key", value);
    const other = await connect(setup, "another key");
    const report = await other.rejoin.report();
    assertEqual([report.groups, report.refused], [{ chat: [] }, refused]);
    await expectNoRoom(other, room);
    await other.connection.stop();
  }

  client.rejoin.forget();
  await client.connection.stop();
  await client.connection.start();
  assertEqual(await client.rejoin.report(), null);
  await expectNoRoom(client, room);
  await client.connection.stop();
};
