// A TCP relay in front of a server. It stands for the network, which can fail.
import { connect, createServer } from "node:net";

export const startRelay = async (server) => {
  const { hostname, port } = new URL(server);
  const sockets = new Set();
  let isConnected = true;

  const keep = (socket) => {
    sockets.add(socket);
    // An error is followed by `close`.
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  };
  const listener = createServer((client) => {
    if (!isConnected) return client.destroy();
    const upstream = connect({ host: hostname, port });
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      keep(one);
      one.setNoDelay(true).pipe(other);
      one.on("close", () => other.destroy());
    }
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));

  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    // Cuts all connections and refuses new ones. A browser repeats requests whose connection was cut.
    disconnect() {
      isConnected = false;
      for (const socket of sockets) socket.destroy();
    },
    connect() { isConnected = true; },
  };
};
