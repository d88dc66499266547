// What the functional tests of the official TypeScript client check, under Node, at the example `typescript_functional`.
// Usage: functional.mjs HTTPS_URL HTTP_URL TRANSPORT PROTOCOL GROUP. Runs a group of scenarios over one transport with one
// protocol, prints the name and the error of each that fails, and exits with 0 if none does. The working directory must
// contain the npm packages, because the repository does not.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const signalR = require("@microsoft/signalr");
const { HttpConnection } = require("@microsoft/signalr/dist/cjs/HttpConnection");

const [https, http, transportName, protocolName, group] = process.argv.slice(2);
const transport = signalR.HttpTransportType[transportName];
const protocols = {
  json: () => new signalR.JsonHubProtocol(),
  messagepack: () => new (require("@microsoft/signalr-protocol-msgpack").MessagePackHubProtocol)(),
};

// A value that is set later, and can be awaited.
const deferred = () => { let resolve; const promise = new Promise((done) => { resolve = done; }); return { promise, resolve }; };

const build = (url, options = {}, retry = false) => {
  const builder = new signalR.HubConnectionBuilder()
    .withUrl(url, { transport, ...options })
    .withHubProtocol(protocols[protocolName]())
    .configureLogging(signalR.LogLevel.None);
  return (retry ? builder.withAutomaticReconnect() : builder).build();
};

// Starts a connection, runs `use`, stops the connection and asserts that it has closed without an error.
const connected = async (use, url = `${http}/testhub`, options = {}, retry = false) => {
  const connection = build(url, options, retry);
  const closed = deferred();
  connection.onclose((error) => closed.resolve(error));
  await connection.start();
  await use(connection);
  await connection.stop();
  assert.equal(await closed.promise, undefined, "the error of the close");
};

const errorOf = (promise) => promise.then(() => assert.fail("must fail"), (error) => error.message);

// Collects the items of a stream. Rejects if it fails.
const collect = (stream) => new Promise((resolve, reject) => {
  const items = [];
  stream.subscribe({ next: (item) => items.push(item), error: reject, complete: () => resolve(items) });
});

const complexObject = () => {
  const dateTime = new Date("2002-04-01T10:20:15Z");
  return {
    ByteArray: protocolName === "json" ? "aGVsbG8=" : new Uint8Array([0x68, 0x65, 0x6c, 0x6c, 0x6f]),
    DateTime: protocolName === "json" ? "2002-04-01T10:20:15Z" : dateTime,
    Guid: "00010203-0405-0607-0706-050403020100",
    IntArray: [0x01, 0x02, 0x03, 0xff],
    String: "Hello, World!",
  };
};

// A MessagePack client receives bytes as a view of a larger buffer.
const comparable = ({ ByteArray, DateTime, ...rest }) =>
  ({ ...rest, ByteArray: typeof ByteArray === "string" ? ByteArray : [...ByteArray], DateTime: new Date(DateTime).getTime() });

const token = async () => (await fetch(`${http}/generateJwtToken`)).text();

const groups = {
  calls: {
    "invokes a method and receives its result": () => connected(async (connection) => {
      const message = "你好，世界！";
      assert.equal(await connection.invoke("Echo", message), message);
    }),
    "invokes a method over https": () => connected(async (connection) => {
      assert.equal(await connection.invoke("Echo", "secret"), "secret");
    }, `${https}/testhub`),
    "sends without a result and stops": () => connected((connection) => connection.send("Echo", "unheard")),
    "sends and receives objects": () => connected(async (connection) => {
      const received = deferred();
      connection.on("customObject", received.resolve);
      await connection.send("SendCustomObject", { Name: "test", Value: 42 });
      assert.deepEqual(await received.promise, { Name: "test", Value: 42 });
    }),
    "rethrows the exception of a method": () => connected(async (connection) => {
      assert.equal(await errorOf(connection.invoke("ThrowException", "An error occurred.")),
        "An unexpected error occurred invoking 'ThrowException' on the server. InvalidOperationException: An error occurred.");
    }),
    "cannot stream a method without a stream": () => connected(async (connection) => {
      assert.equal(await errorOf(collect(connection.stream("Echo", "42"))),
        "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.");
    }),
    "receives calls of the server in any case": () => connected(async (connection) => {
      const received = deferred();
      connection.on("mEsSaGe", received.resolve);
      await connection.invoke("invokeWithString", "你好，SignalR！");
      assert.equal(await received.promise, "你好，SignalR！");
    }),
    "keeps its handlers when it is restarted": async () => {
      const connection = build(`${http}/testhub`);
      for (const text of ["first", "second"]) {
        const received = deferred();
        connection.off("message");
        connection.on("message", received.resolve);
        await connection.start();
        await connection.invoke("InvokeWithString", text);
        assert.equal(await received.promise, text);
        await connection.stop();
      }
    },
  },

  // Over Server-Sent Events the first ping of the client can come too late, which is then the error that it reports.
  refusal: {
    "is closed if its hub cannot be created": async () => {
      const connection = build(`${http}/uncreatable`);
      const closed = deferred();
      connection.onclose((error) => closed.resolve(error.message));
      // The client has started when it has read the answer to its handshake, which precedes the Close message.
      const failed = await connection.start().then(() => closed.promise, (error) => error.message);
      assert.match(failed, /Unable to resolve service for type 'System.Object' while attempting to activate 'FunctionalTests.UncreatableHub'./);
    },
  },

  // Plain bytes over the connection of the client, without its hub protocol.
  echo: {
    "sends and receives a text": async () => {
      const connection = new HttpConnection(`${http}/echo`, { transport, logger: signalR.NullLogger.instance });
      const [received, closed] = [deferred(), deferred()];
      connection.onreceive = received.resolve;
      connection.onclose = closed.resolve;
      await connection.start(signalR.TransferFormat.Text);
      await connection.send("Hello World!");
      assert.equal(await received.promise, "Hello World!");
      await connection.stop();
      assert.equal(await closed.promise, undefined);
    },
  },

  // A WebSocket cannot be redirected, and the event source of the client follows no relative address.
  httpRedirects: {
    "follows redirects of HTTP": async () => {
      const connection = new HttpConnection(`${http}/echoredirect`, { transport, logger: signalR.NullLogger.instance });
      const received = deferred();
      connection.onreceive = received.resolve;
      await connection.start(signalR.TransferFormat.Text);
      await connection.send("Hello World!");
      assert.equal(await received.promise, "Hello World!");
      await connection.stop();
    },
  },

  objects: {
    "sends and receives different types": () => connected(async (connection) => {
      assert.deepEqual(comparable(await connection.invoke("EchoComplexObject", complexObject())), comparable(complexObject()));
    }),
    "receives different types": () => connected(async (connection) => {
      const received = await connection.invoke("SendComplexObject");
      assert.deepEqual(comparable(received), comparable({
        ByteArray: protocolName === "json" ? "AQID" : new Uint8Array([1, 2, 3]),
        DateTime: "2000-01-01T00:00:00Z",
        Guid: "00010203-0405-0607-0706-050403020100",
        IntArray: [1, 2, 3],
        String: "hello world",
      }));
      if (protocolName === "json") assert.equal(received.DateTime, "2000-01-01T00:00:00Z");
    }),
  },

  streams: {
    "streams a method": () => connected(async (connection) => {
      assert.deepEqual(await collect(connection.stream("Stream")), ["a", "b", "c"]);
    }),
    "cancels a stream": () => connected(async (connection) => {
      const canceled = deferred();
      connection.on("StreamCanceled", canceled.resolve);
      connection.stream("InfiniteStream").subscribe({ next() {}, error() {}, complete() {} }).dispose();
      await canceled.promise;
    }),
    "cannot invoke a method with a stream": () => connected(async (connection) => {
      for (const method of ["EmptyStream", "Stream"]) {
        assert.equal(await errorOf(connection.invoke(method)),
          `The client attempted to invoke the streaming '${method}' method with a non-streaming invocation.`);
      }
    }),
    "rethrows the exception of a streaming method": () => connected(async (connection) => {
      assert.equal(await errorOf(collect(connection.stream("StreamThrowException", "An error occurred."))),
        "An unexpected error occurred invoking 'StreamThrowException' on the server. InvalidOperationException: An error occurred.");
    }),
    "streams to the server": () => connected(async (connection) => {
      const subject = new signalR.Subject();
      const result = connection.invoke("StreamingConcat", subject);
      for (const item of ["Hello ", "world", "!"]) subject.next(item);
      subject.complete();
      assert.equal(await result, "Hello world!");
    }),
    "ends a stream to the server with an error": () => connected(async (connection) => {
      const subject = new signalR.Subject();
      const result = connection.invoke("StreamingConcat", subject);
      subject.next("Hello ");
      subject.error(new Error("Something bad"));
      assert.equal(await errorOf(result),
        "An unexpected error occurred invoking 'StreamingConcat' on the server. HubException: Something bad");
    }),
  },

  results: {
    "returns a result to the server": () => connected(async (connection) => {
      connection.on("Result", () => 10);
      assert.equal(await (await fetch(`${http}/clientresult/${connection.connectionId}`)).text(), "10");
    }),
    "returns an error to the server": () => connected(async (connection) => {
      connection.on("Result", () => { throw new Error("from callback"); });
      assert.equal(await (await fetch(`${http}/clientresult/${connection.connectionId}`)).text(), "Error: from callback");
    }),
    "reports to the server that it has no result": () => connected(async (connection) => {
      connection.on("Result", () => {});
      assert.equal(await (await fetch(`${http}/clientresult/${connection.connectionId}`)).text(), "Client didn't provide a result.");
    }),
  },

  connections: {
    "authorizes a client with a token": () =>
      connected(async (connection) => assert.equal(await connection.invoke("Echo", "hi"), "hi"), `${http}/authorizedhub`,
        { accessTokenFactory: token }),
    "refuses a client without a token": async () => {
      assert.equal(await errorOf(build(`${http}/authorizedhub`).start()),
        "Failed to complete negotiation with the server: Error: Unauthorized: Status code '401'");
    },
    "sends its cookies": () => connected(async (connection) => {
      assert.equal(await connection.invoke("GetCookie", "testCookie"), "testValue");
      assert.equal(await connection.invoke("GetCookie", "testCookie2"), "testValue2");
      assert.equal(await connection.invoke("GetCookie", "expiredCookie"), null);
    }, `${https}/testhub`),
    "reconnects as another connection": async () => {
      const connection = build(`${http}/testhub`, {}, true);
      const reconnected = deferred();
      connection.onreconnected(reconnected.resolve);
      await connection.start();
      const first = connection.connectionId;
      // The client closes its transport as after a failure of the network.
      connection.connection.stop(new Error("lost"));
      assert.notEqual(await reconnected.promise, first);
      assert.equal(await connection.invoke("GetCallerConnectionId"), connection.connectionId);
      await connection.stop();
    },
    "reconnects to another url": async () => {
      const connection = build(`${http}/echo`, {}, true);
      connection.baseUrl = `${http}/testhub?numRedirects=1`;
      const reconnected = deferred();
      connection.onreconnecting(() => { connection.baseUrl = `${http}/testhub?numRedirects=2`; });
      connection.onreconnected(reconnected.resolve);
      await connection.start();
      assert.equal(await connection.invoke("GetNumRedirects"), 1);
      connection.connection.stop(new Error("lost"));
      await reconnected.promise;
      assert.equal(await connection.invoke("GetNumRedirects"), 2);
      await connection.stop();
    },
    "sends its user agent": () => connected(async (connection) => {
      const name = await connection.invoke("GetHeader", "X-SignalR-User-Agent");
      assert.equal(name, null, "Node can set User-Agent itself");
      assert.match(await connection.invoke("GetHeader", "User-Agent"), /^Microsoft SignalR\/10\.0 \(10\.0\.\d+; .*NodeJS/);
    }),
    "replaces library headers by its own": () => connected(async (connection) => {
      assert.equal(await connection.invoke("GetHeader", "User-Agent"), "Custom Agent");
      assert.equal(await connection.invoke("GetHeader", "X-HEADER"), "VALUE");
    }, `${http}/testhub`, { headers: { "User-Agent": "Custom Agent", "X-HEADER": "VALUE" } }),
    "follows a redirect each time": async () => {
      const connection = build(`${http}/redirect?baseUrl=${http}`, {}, true);
      const reconnected = deferred();
      connection.onreconnected(reconnected.resolve);
      await connection.start();
      const first = await connection.invoke("GetNumRedirects");
      connection.connection.stop(new Error("lost"));
      await reconnected.promise;
      assert.ok(await connection.invoke("GetNumRedirects") > first);
      assert.equal(await connection.invoke("GetCallerConnectionId"), connection.connectionId);
      await connection.stop();
    },
  },

  transports: {
    "has no connection id without negotiation": () => connected(async (connection) => {
      assert.equal(connection.connectionId, null);
      assert.notEqual(await connection.invoke("GetCallerConnectionId"), null);
    }, `${http}/testhub`, { transport: signalR.HttpTransportType.WebSockets, skipNegotiation: true }),
    "reports the response to a refused negotiation": async () => {
      assert.equal(await errorOf(build(`${http}/bad-negotiate`).start()),
        "Failed to complete negotiation with the server: Error: Some response from server: Status code '400'");
    },
    "loads the client for web workers": async () => {
      const script = await (await fetch(`${http}/lib/signalr-webworker/signalr.js`)).text();
      assert.match(script, /HubConnectionBuilder/);
    },
  },

  fallback: {
    "falls back to a transport that its protocol can use": () => connected(async (connection) => {
      const expected = protocolName === "json" ? "ServerSentEvents" : "LongPolling";
      assert.equal(await connection.invoke("GetActiveTransportName"), expected);
    }, `${http}/testhub-nowebsockets`, { transport: undefined }),
  },
};

let failures = 0;
for (const [name, scenario] of Object.entries(groups[group])) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("nothing happens")), 30_000).unref());
  await Promise.race([scenario(), late]).catch((error) => { failures += 1; console.error(`${name}: ${error.stack}`); });
}
process.exit(failures);
