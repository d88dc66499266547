"use strict";
// A chat client that implements both wire protocols by hand, so that the page needs no library. Applications should use
// the official clients; this one implements only the minimum: one transport, and one completion per call.

const byId = (id) => document.getElementById(id);
const RECONNECT_DELAYS = [0, 2_000, 5_000, 10_000, 30_000]; // milliseconds before each attempt
const SILENCE_TIMEOUT = 30_000; // milliseconds; both dialects of the server send something at least every 15 s

const urlOf = (path, query) => {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  return url;
};

const fetchJson = async (method, url) => {
  const response = await fetch(url, { method });
  if (!response.ok) throw new Error(`${url.pathname} returned ${response.status} ${response.statusText}`);
  return response.json();
};

// Opens a WebSocket and passes the text of each message to `onMessage`. A socket that stays silent is closed.
const openSocket = (url, onMessage, onClose) => new Promise((opened, failed) => {
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  let silenceTimer;
  const restartTimer = () => { clearTimeout(silenceTimer); silenceTimer = setTimeout(() => socket.close(), SILENCE_TIMEOUT); };
  socket.onopen = () => { restartTimer(); opened(socket); };
  socket.onmessage = ({ data }) => { restartTimer(); onMessage(data); };
  socket.onclose = () => { clearTimeout(silenceTimer); failed(new Error("the WebSocket was refused")); onClose(); };
});

// A promise with its `resolve` and `reject`. Its rejection may stay unhandled.
const deferred = () => {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  result.promise.catch(() => {});
  return result;
};

// Calls that wait for their completion.
class PendingCalls {
  #pending = new Map();
  #lastId = 0;
  start(send) {
    const id = String(++this.#lastId), call = deferred();
    this.#pending.set(id, call);
    send(id);
    return call.promise;
  }
  complete(id, error) {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    if (call) error ? call.reject(new Error(error)) : call.resolve();
  }
  rejectAll() { for (const id of [...this.#pending.keys()]) this.complete(id, "the connection was lost"); }
}

// One client class for each dialect. `open(isReconnect)` connects; a reconnecting client presents the token that restores
// its groups. `events` has the callbacks `message`, `error` and `lost`.

class AspNetCore {
  calls = new PendingCalls();
  token = "";
  constructor(identity, events) { Object.assign(this, { identity, events }); }

  async open() {
    const { connectionToken, error } = await fetchJson("POST", urlOf("chat/negotiate", { negotiateVersion: "1", ...this.identity }));
    if (error) throw new Error(error);
    // `rejoin` requests tokens that restore the groups of an earlier connection on a new one.
    const url = urlOf("chat", { id: connectionToken, rejoin: this.token || "1", ...this.identity });
    const handshake = deferred();
    this.socket = await openSocket(url, (data) => {
      for (const text of data.split("\u001e").slice(0, -1)) {
        const message = JSON.parse(text);
        if (message.type) this.#handle(message);
        else message.error ? handshake.reject(new Error(message.error)) : handshake.resolve();
      }
    }, () => { handshake.reject(new Error("the connection was lost")); this.#onClose(); });
    this.#send({ protocol: "json", version: 1 });
    await handshake.promise;
    this.pings = setInterval(() => this.#send({ type: 6 }), 15_000);
  }

  #handle({ type, target, arguments: args, invocationId, error }) {
    if (type === 1 && target === "hubcast:rejoinToken") this.token = args[0];
    else if (type === 1) this.events.message(target, args);
    else if (type === 3) this.calls.complete(invocationId, error);
    else if (type === 7 && error) this.events.error(error);
  }

  #onClose() { clearInterval(this.pings); this.calls.rejectAll(); this.events.lost(); }
  #send(message) { this.socket.send(JSON.stringify(message) + "\u001e"); }
  invoke(target, ...args) { return this.calls.start((invocationId) => this.#send({ type: 1, invocationId, target, arguments: args })); }
  close() { this.socket.close(); }
}

class Classic {
  calls = new PendingCalls();
  constructor(identity, events) { Object.assign(this, { identity, events }); }

  #url(step, query = {}) {
    const common = { transport: "webSockets", clientProtocol: "2.1", connectionData: '[{"name":"chat"}]' };
    return urlOf(`signalr/${step}`, { ...common, connectionToken: this.token, ...this.identity, ...query });
  }

  async open(isReconnect) {
    const init = deferred();
    const onMessage = (data) => { const frame = JSON.parse(data); this.#handle(frame); if (frame.S) init.resolve(); };
    const onClose = () => { init.reject(new Error("the connection was lost")); this.calls.rejectAll(); this.events.lost(); };
    if (isReconnect) {
      // The groups token restores the room, and the cursor identifies the last message that was received.
      this.socket = await openSocket(this.#url("reconnect", { groupsToken: this.groups, messageId: this.cursor }), onMessage, onClose);
      return;
    }
    this.token = (await fetchJson("GET", this.#url("negotiate"))).ConnectionToken;
    this.socket = await openSocket(this.#url("connect"), onMessage, onClose);
    await init.promise;
    await fetchJson("GET", this.#url("start"));
  }

  #handle({ C, G, M, I, E }) {
    if (I !== undefined) return this.calls.complete(String(I), E);
    this.cursor = C ?? this.cursor;
    this.groups = G ?? this.groups;
    for (const { M: target, A: args } of M ?? []) this.events.message(target, args);
  }

  invoke(M, ...A) { return this.calls.start((I) => this.socket.send(JSON.stringify({ H: "chat", M, A, I }))); }
  close() {
    // Without an abort request the server waits for the client to reconnect.
    fetch(this.#url("abort"), { method: "POST", keepalive: true }).catch(() => {});
    this.socket.close();
  }
}

// The page.

let current = null; // the room, user name and client of the current session; null while in no room

const show = (state, text) => {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
  byId("message").disabled = byId("send").disabled = state !== "joined";
  byId("leave").disabled = current === null;
  byId("join").disabled = current !== null;
  for (const id of ["name", "room", "wire", "token", "durable"]) byId(id).disabled = current !== null;
};

const log = (name, text) => {
  const line = document.createElement("li");
  for (const [tag, content] of [["b", name], ["span", ` ${text}`]]) {
    if (content) line.appendChild(document.createElement(tag)).textContent = content;
  }
  byId("log").append(line);
  line.scrollIntoView({ block: "nearest" });
};

const fail = (error) => { const failed = current; current = null; failed?.client.socket?.close(); show("failed", error.message); };

const connect = async (session, isReconnect) => {
  const { client, room, name, joinMethod } = session;
  await client.open(isReconnect);
  await client.invoke(joinMethod, room); // no effect if the server has already restored the room
  if (current === session) { session.attempt = 0; show("joined", `in ${room} as ${name}`); byId("message").focus(); }
};

const reconnect = async (session) => {
  show("reconnecting", "connection lost, reconnecting …");
  const delay = RECONNECT_DELAYS[session.attempt++];
  if (delay === undefined) return fail(new Error("connection lost"));
  await new Promise((resolve) => setTimeout(resolve, delay));
  if (current !== session) return;
  session.isConnecting = true;
  try { await connect(session, true); session.isConnecting = false; } catch { session.isConnecting = false; if (current === session) reconnect(session); }
};

byId("entry").onsubmit = async (event) => {
  event.preventDefault();
  const name = byId("name").value, room = byId("room").value, token = byId("token").value, isDurable = byId("durable").checked;
  const session = { name, room, attempt: 0, isConnecting: true };
  const events = {
    message: (target, args) => { if (target.toLowerCase() === "addchatmessage") log(String(args[0] ?? ""), String(args[1] ?? "")); },
    error: (text) => log("", text),
    lost: () => { if (current === session && !session.isConnecting) reconnect(session); },
  };
  const Client = byId("wire").value === "classic" ? Classic : AspNetCore;
  session.client = new Client(token ? { access_token: token } : { user: name }, events);
  session.joinMethod = isDurable ? "AddToRoom" : "JoinRoom";
  session.leaveMethod = isDurable ? "RemoveFromRoom" : "LeaveRoom";
  current = session;
  show("connecting", "connecting …");
  try { await connect(session, false); session.isConnecting = false; } catch (error) { if (current === session) fail(error); }
};

byId("leave").onclick = async () => {
  const { client, leaveMethod, room } = current;
  current = null;
  show("offline", "not connected");
  try { await client.invoke(leaveMethod, room); } catch { /* a lost connection is no longer in the room */ }
  client.close();
};

byId("speech").onsubmit = async (event) => {
  event.preventDefault();
  const text = byId("message").value;
  byId("message").value = "";
  try { await current.client.invoke("Send", current.room, text); } catch (error) { log("", `not sent: ${error.message}`); }
};

for (const [name, value] of new URLSearchParams(location.search)) {
  if (["name", "room", "wire"].includes(name)) byId(name).value = value;
}
