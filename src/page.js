"use strict";
// A chat client that speaks both wire protocols by hand, so that it needs no library. Applications take the
// official clients; what is here is the least that works: one transport, and one answer at a time per call.

const at = (id) => document.getElementById(id);
const PAUSES = [0, 2_000, 5_000, 10_000, 30_000]; // before each attempt to come back, in milliseconds
const SILENCE = 30_000; // both kinds of server say something at least every 15 s

const address = (path, query) => {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  return url;
};

const ask = async (method, url) => {
  const answer = await fetch(url, { method });
  if (!answer.ok) throw new Error(`${url.pathname} answers ${answer.status} ${answer.statusText}`);
  return answer.json();
};

// Opens a WebSocket. `hear` gets the text of each message; a socket that stays silent is closed.
const open = (url, hear, lost) => new Promise((opened, failed) => {
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  let silence;
  const listen = () => { clearTimeout(silence); silence = setTimeout(() => socket.close(), SILENCE); };
  socket.onopen = () => { listen(); opened(socket); };
  socket.onmessage = ({ data }) => { listen(); hear(data); };
  socket.onclose = () => { clearTimeout(silence); failed(new Error("the WebSocket was refused")); lost(); };
});

// A promise that somebody else keeps, or nobody waits for.
const later = () => {
  const kept = {};
  kept.promise = new Promise((resolve, reject) => Object.assign(kept, { resolve, reject }));
  kept.promise.catch(() => {});
  return kept;
};

// Calls that wait for their answers.
class Calls {
  #waiting = new Map();
  #last = 0;
  make(say) {
    const id = String(++this.#last), call = later();
    this.#waiting.set(id, call);
    say(id);
    return call.promise;
  }
  settle(id, error) {
    const call = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (call) error ? call.reject(new Error(error)) : call.resolve();
  }
  abandon() { for (const id of [...this.#waiting.keys()]) this.settle(id, "the connection was lost"); }
}

// Both wires: open(isReturn) connects; a client that returns is put back into its room by what it kept.

class AspNetCore {
  calls = new Calls();
  token = "";
  constructor(identity, tell) { Object.assign(this, { identity, tell }); }

  async open() {
    const { connectionToken, error } = await ask("POST", address("chat/negotiate", { negotiateVersion: "1", ...this.identity }));
    if (error) throw new Error(error);
    // `rejoin` asks for tokens that bring a new connection back into the groups of an old one.
    const url = address("chat", { id: connectionToken, rejoin: this.token || "1", ...this.identity });
    const greeting = later();
    this.socket = await open(url, (data) => {
      for (const text of data.split("\u001e").slice(0, -1)) {
        const message = JSON.parse(text);
        if (message.type) this.#take(message);
        else message.error ? greeting.reject(new Error(message.error)) : greeting.resolve();
      }
    }, () => { greeting.reject(new Error("the connection was lost")); this.#lose(); });
    this.#say({ protocol: "json", version: 1 });
    await greeting.promise;
    this.pings = setInterval(() => this.#say({ type: 6 }), 15_000);
  }

  #take({ type, target, arguments: args, invocationId, error }) {
    if (type === 1 && target === "hubcast:rejoinToken") this.token = args[0];
    else if (type === 1) this.tell.message(target, args);
    else if (type === 3) this.calls.settle(invocationId, error);
    else if (type === 7 && error) this.tell.note(error);
  }

  #lose() { clearInterval(this.pings); this.calls.abandon(); this.tell.lost(); }
  #say(message) { this.socket.send(JSON.stringify(message) + "\u001e"); }
  invoke(target, ...args) { return this.calls.make((invocationId) => this.#say({ type: 1, invocationId, target, arguments: args })); }
  close() { this.socket.close(); }
}

class Classic {
  calls = new Calls();
  constructor(identity, tell) { Object.assign(this, { identity, tell }); }

  #address(step, more = {}) {
    const fixed = { transport: "webSockets", clientProtocol: "2.1", connectionData: '[{"name":"chat"}]' };
    return address(`signalr/${step}`, { ...fixed, connectionToken: this.token, ...this.identity, ...more });
  }

  async open(isReturn) {
    const beginning = later();
    const hear = (data) => { const frame = JSON.parse(data); this.#take(frame); if (frame.S) beginning.resolve(); };
    const lose = () => { beginning.reject(new Error("the connection was lost")); this.calls.abandon(); this.tell.lost(); };
    if (isReturn) {
      // The groups token is the way back into the room, and the cursor names the last message that was seen.
      this.socket = await open(this.#address("reconnect", { groupsToken: this.groups, messageId: this.cursor }), hear, lose);
      return;
    }
    this.token = (await ask("GET", this.#address("negotiate"))).ConnectionToken;
    this.socket = await open(this.#address("connect"), hear, lose);
    await beginning.promise;
    await ask("GET", this.#address("start"));
  }

  #take({ C, G, M, I, E }) {
    if (I !== undefined) return this.calls.settle(String(I), E);
    this.cursor = C ?? this.cursor;
    this.groups = G ?? this.groups;
    for (const { M: target, A: args } of M ?? []) this.tell.message(target, args);
  }

  invoke(M, ...A) { return this.calls.make((I) => this.socket.send(JSON.stringify({ H: "chat", M, A, I }))); }
  close() {
    // A classic client that only hangs up is waited for.
    fetch(this.#address("abort"), { method: "POST", keepalive: true }).catch(() => {});
    this.socket.close();
  }
}

// The page.

let visit = null; // who is where, over which wire; null while in no room

const show = (state, text) => {
  at("state").dataset.state = state;
  at("state").textContent = text;
  const isIn = state === "joined";
  at("message").disabled = at("send").disabled = !isIn;
  at("leave").disabled = visit === null;
  at("join").disabled = visit !== null;
  for (const id of ["name", "room", "wire", "token", "durable"]) at(id).disabled = visit !== null;
};

const log = (name, text) => {
  const line = document.createElement("li");
  for (const [tag, content] of [["b", name], ["span", ` ${text}`]]) {
    if (content) line.appendChild(document.createElement(tag)).textContent = content;
  }
  at("log").append(line);
  line.scrollIntoView({ block: "nearest" });
};

const fail = (error) => { const failed = visit; visit = null; failed?.wire.socket?.close(); show("failed", error.message); };

const enter = async (mine, isReturn) => {
  const { wire, room, name, join } = mine;
  await wire.open(isReturn);
  await wire.invoke(join, room); // changes nothing for a client that was put back
  if (visit === mine) { mine.attempt = 0; show("joined", `in ${room} as ${name}`); at("message").focus(); }
};

const comeBack = async (mine) => {
  show("reconnecting", "connection lost, coming back …");
  const pause = PAUSES[mine.attempt++];
  if (pause === undefined) return fail(new Error("connection lost"));
  await new Promise((resolve) => setTimeout(resolve, pause));
  if (visit !== mine) return;
  mine.isOpening = true;
  try { await enter(mine, true); mine.isOpening = false; } catch { mine.isOpening = false; if (visit === mine) comeBack(mine); }
};

at("entry").onsubmit = async (event) => {
  event.preventDefault();
  const name = at("name").value, room = at("room").value, token = at("token").value, isDurable = at("durable").checked;
  const mine = { name, room, attempt: 0, isOpening: true };
  const tell = {
    message: (target, args) => { if (target.toLowerCase() === "addchatmessage") log(String(args[0] ?? ""), String(args[1] ?? "")); },
    note: (text) => log("", text),
    lost: () => { if (visit === mine && !mine.isOpening) comeBack(mine); },
  };
  const Wire = at("wire").value === "classic" ? Classic : AspNetCore;
  mine.wire = new Wire(token ? { access_token: token } : { user: name }, tell);
  mine.join = isDurable ? "AddToRoom" : "JoinRoom";
  mine.part = isDurable ? "RemoveFromRoom" : "LeaveRoom";
  visit = mine;
  show("connecting", "connecting …");
  try { await enter(mine, false); mine.isOpening = false; } catch (error) { if (visit === mine) fail(error); }
};

at("leave").onclick = async () => {
  const { wire, part, room } = visit;
  visit = null;
  show("offline", "not connected");
  try { await wire.invoke(part, room); } catch { /* whoever was cut off has left */ }
  wire.close();
};

at("speech").onsubmit = async (event) => {
  event.preventDefault();
  const text = at("message").value;
  at("message").value = "";
  try { await visit.wire.invoke("Send", visit.room, text); } catch (error) { log("", `not sent: ${error.message}`); }
};

for (const [name, value] of new URLSearchParams(location.search)) {
  if (["name", "room", "wire"].includes(name)) at(name).value = value;
}
