// The chat page. Its element ids are in index.html.
import { AspNetCore, Classic } from "./page-clients.js";
import { enableRejoin } from "./hubcast-rejoin.js";

const byId = (id) => document.getElementById(id);
const FIELDS = ["name", "room", "wire", "token", "durable"];
const RECONNECT_DELAYS = [0, 2_000, 5_000, 10_000, 30_000]; // milliseconds before each attempt

let current = null; // the room, user name and client of the current session; null while in no room

// A disabled element loses the focus, so the message field stays enabled while the page reconnects.
const show = (state, text) => {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
  byId("message").disabled = byId("send").disabled = !["joined", "reconnecting"].includes(state);
  byId("leave").disabled = current === null;
  for (const id of ["join", ...FIELDS]) byId(id).disabled = current !== null;
};

const log = (name, text, label) => {
  const line = document.createElement("li");
  for (const [tag, content] of [["small", label], ["b", name], ["span", ` ${text}`]]) {
    if (content) line.appendChild(document.createElement(tag)).textContent = content;
  }
  byId("log").append(line);
  line.scrollIntoView({ block: "nearest" });
};

// The focus returns to the element from which the user has tried to join, or moves to the token that the server requires.
const fail = (error) => {
  const failed = current;
  current = null;
  failed?.client.stop();
  show("failed", error.message);
  const isUnauthorized = error.status === 401;
  if (isUnauthorized) byId("sign-in").open = true;
  const { body, activeElement } = document;
  if (activeElement === body || activeElement.disabled) (isUnauthorized ? byId("token") : failed?.joinedFrom ?? byId("join")).focus();
};

// Hubs of an application may lack WhoAmI, WatchUser and WatchRoom.
const ownName = (client, fallback) => client.invoke("WhoAmI").catch(() => fallback);
const watch = async (client, room) => {
  try { await client.invoke("WatchUser"); await client.invoke("WatchRoom", room); return true; } catch { return false; }
};

const connect = async (session) => {
  const { client, room, joinMethod } = session;
  await client.start();
  const name = await ownName(client, session.name);
  const isWatching = await watch(client, room); // before joining, so that no message comes without its room
  await client.invoke(joinMethod, room); // no effect if the server has already restored the room
  if (current !== session) return;
  session.isWatching = isWatching;
  session.attempt = 0;
  show("joined", `in ${room} as ${name}`);
  if (session.isNew) byId("message").focus();
  session.isNew = false;
};

const reconnect = async (session) => {
  show("reconnecting", "connection lost, reconnecting …");
  const delay = RECONNECT_DELAYS[session.attempt++];
  if (delay === undefined) return fail(new Error("connection lost"));
  await new Promise((resolve) => setTimeout(resolve, delay));
  if (current !== session) return;
  session.isConnecting = true;
  try { await connect(session); session.isConnecting = false; } catch { session.isConnecting = false; if (current === session) reconnect(session); }
};

// The rooms of messages that will follow. A watcher receives the room, or null for a message to the user, before the
// message. It may receive no message then, because watchers need not be members.
const MAX_ANNOUNCED = 100;
class Announced {
  #messages = [];
  add(room, ...message) { if (this.#messages.push({ room, key: JSON.stringify(message) }) > MAX_ANNOUNCED) this.#messages.shift(); }
  // Returns the room of a message, or undefined.
  take(...message) {
    const index = this.#messages.findIndex(({ key }) => key === JSON.stringify(message));
    return index < 0 ? undefined : this.#messages.splice(index, 1)[0].room;
  }
}

// A message without an announced room is of a room that the page does not watch, for example one to which an operator has
// added the user.
const labelOf = (room, session) => {
  if (room === undefined) return session.isWatching ? "in another room" : "";
  if (room === session.room) return "";
  return room === null ? "to you" : `in ${room}`;
};

const newClient = (session, identity) => {
  const isClassic = byId("wire").value === "classic";
  const { maxAspnetcoreMessage, maxClassicMessage } = document.documentElement.dataset;
  const maxMessage = isClassic ? maxClassicMessage : maxAspnetcoreMessage;
  const client = new (isClassic ? Classic : AspNetCore)({
    identity,
    maxMessage: maxMessage && Number(maxMessage),
    onError: (text) => log("", text),
    onLost: () => { if (current === session && !session.isConnecting) reconnect(session); },
  });
  const announced = new Announced();
  client.on("addRoomMessage", (room, name, text) => announced.add(room, name, text));
  client.on("addChatMessage", (name = "", text = "") => log(String(name), String(text), labelOf(announced.take(name, text), session)));
  if (!isClassic) enableRejoin(client, { onRejoined: ({ refused }) => { if (refused) log("", `the groups were not restored: ${refused}`); } });
  return client;
};

byId("entry").onsubmit = async (event) => {
  event.preventDefault();
  const name = byId("name").value, token = byId("token").value, isDurable = byId("durable").checked;
  const session = { name, room: byId("room").value, attempt: 0, isConnecting: true, isNew: true, joinedFrom: document.activeElement };
  session.client = newClient(session, token ? { access_token: token } : { user: name });
  session.joinMethod = isDurable ? "AddToRoom" : "JoinRoom";
  session.leaveMethod = isDurable ? "RemoveFromRoom" : "LeaveRoom";
  current = session;
  show("connecting", "connecting …");
  try { await connect(session); session.isConnecting = false; } catch (error) { if (current === session) fail(error); }
};

byId("leave").onclick = async () => {
  const { client, leaveMethod, room } = current;
  current = null;
  show("offline", "not connected");
  byId("join").focus();
  try { await client.invoke(leaveMethod, room); } catch { /* a lost connection is no longer in the room */ }
  client.stop();
};

// A message that was not sent returns to its field, unless the user has begun another one.
byId("speech").onsubmit = async (event) => {
  event.preventDefault();
  const field = byId("message"), text = field.value;
  field.value = "";
  field.focus();
  try {
    await current.client.invoke("Send", current.room, text);
  } catch (error) {
    field.value ||= text;
    log("", `not sent: ${error.message}`);
  }
};

for (const [name, value] of new URLSearchParams(location.search)) {
  if (["name", "room", "wire"].includes(name)) byId(name).value = value;
}
