// Minimal clients of both wire protocols, so that the page needs no library. Applications should use the official
// clients; these implement only one transport, and one completion per call.

const SILENCE_TIMEOUT = 30_000; // milliseconds; both dialects of the server send something at least every 15 s
const LOST = "the connection was lost";

const withQuery = (base, path, query) => {
  const url = new URL(base);
  url.pathname += path;
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  return url;
};

// The answer to a request. The error of a refused request states the reason that the server gives.
const fetchJson = async (method, url) => {
  const response = await fetch(url, { method });
  if (response.ok) return response.json();
  const isText = response.headers.get("content-type")?.startsWith("text/plain");
  const reason = isText && (await response.text()).trim();
  const status = `${response.status} ${response.statusText}`.trim();
  throw Object.assign(new Error(reason ? `${status}: ${reason}` : `${url.pathname} returned ${status}`), { status: response.status });
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

// What both clients share: calls that wait for their completion, and handlers of the server's calls. `options` has the
// members `identity` (query parameters), `maxMessage` (bytes, or undefined), `onLost` and `onError`.
class Client {
  #pending = new Map();
  #handlers = new Map();
  #lastId = 0;
  constructor(options) { this.options = options; }

  on(method, handler) { this.#handlers.set(method.toLowerCase(), handler); }
  receive(method, args) { this.#handlers.get(method.toLowerCase())?.(...args); }

  send(text) {
    if (this.socket?.readyState !== WebSocket.OPEN) throw new Error(LOST);
    const { length } = new TextEncoder().encode(text), limit = this.options.maxMessage;
    if (length > limit) throw new Error(`the message is too long: it takes ${length} bytes, and the server accepts ${limit}`);
    this.socket.send(text);
  }

  async invoke(method, ...args) {
    const id = String(++this.#lastId), call = deferred();
    this.send(this.encodeCall(id, method, args));
    this.#pending.set(id, call);
    return call.promise;
  }

  complete(id, error, result) {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    if (call) error ? call.reject(new Error(error)) : call.resolve(result);
  }

  lose() {
    for (const id of [...this.#pending.keys()]) this.complete(id, LOST);
    this.options.onLost();
  }
}

// It has the members of HubConnection that `enableRejoin` uses. `start` may be called again after a loss.
export class AspNetCore extends Client {
  state = "Disconnected";
  constructor(options) {
    super(options);
    this.baseUrl = withQuery(new URL("chat", document.baseURI), "", options.identity).href;
  }

  onreconnecting() { /* it does not reconnect by itself */ }

  async start() {
    this.state = "Connecting";
    try { await this.#connect(); this.state = "Connected"; } catch (error) { this.state = "Disconnected"; throw error; }
  }

  async #connect() {
    const { connectionToken, error } = await fetchJson("POST", withQuery(this.baseUrl, "/negotiate", { negotiateVersion: "1" }));
    if (error) throw new Error(error);
    const handshake = deferred();
    this.socket = await openSocket(withQuery(this.baseUrl, "", { id: connectionToken }), (data) => {
      for (const text of data.split("\u001e").slice(0, -1)) {
        const message = JSON.parse(text);
        if (message.type) this.#handle(message);
        else message.error ? handshake.reject(new Error(message.error)) : handshake.resolve();
      }
    }, () => { handshake.reject(new Error(LOST)); this.#onClose(); });
    this.#send({ protocol: "json", version: 1 });
    await handshake.promise;
    this.pings = setInterval(() => { if (this.socket.readyState === WebSocket.OPEN) this.#send({ type: 6 }); }, 15_000);
  }

  #handle({ type, target, arguments: args, invocationId, error, result }) {
    if (type === 1) this.receive(target, args);
    else if (type === 3) this.complete(invocationId, error, result);
    else if (type === 7 && error) this.options.onError(error);
  }

  #onClose() { clearInterval(this.pings); this.state = "Disconnected"; this.lose(); }
  #encode(message) { return JSON.stringify(message) + "\u001e"; }
  #send(message) { this.send(this.#encode(message)); }
  encodeCall(invocationId, target, args) { return this.#encode({ type: 1, invocationId, target, arguments: args }); }
  stop() { this.socket?.close(); }
}

// `start` reconnects after a loss: the groups token restores the room, and the cursor identifies the last message that
// was received.
export class Classic extends Client {
  #url(step, query = {}) {
    const common = { transport: "webSockets", clientProtocol: "2.1", connectionData: '[{"name":"chat"}]' };
    const base = new URL(`signalr/${step}`, document.baseURI);
    return withQuery(base, "", { ...common, connectionToken: this.token, ...this.options.identity, ...query });
  }

  async start() {
    const init = deferred();
    const onMessage = (data) => { const frame = JSON.parse(data); this.#handle(frame); if (frame.S) init.resolve(); };
    const onClose = () => { init.reject(new Error(LOST)); this.lose(); };
    if (this.isStarted) {
      this.socket = await openSocket(this.#url("reconnect", { groupsToken: this.groups, messageId: this.cursor }), onMessage, onClose);
      return;
    }
    this.token = (await fetchJson("GET", this.#url("negotiate"))).ConnectionToken;
    this.socket = await openSocket(this.#url("connect"), onMessage, onClose);
    await init.promise;
    await fetchJson("GET", this.#url("start"));
    this.isStarted = true;
  }

  #handle({ C, G, M, I, E, R }) {
    if (I !== undefined) return this.complete(String(I), E, R);
    this.cursor = C ?? this.cursor;
    this.groups = G ?? this.groups;
    for (const { M: method, A: args } of M ?? []) this.receive(method, args);
  }

  encodeCall(I, M, A) { return JSON.stringify({ H: "chat", M, A, I }); }
  stop() {
    // Without an abort request the server waits for the client to reconnect.
    if (this.token) fetch(this.#url("abort"), { method: "POST", keepalive: true }).catch(() => {});
    this.socket?.close();
  }
}
