import net from "node:net";

// A TCP proxy between clients and the server that can cut connections and can drop all data silently.
export const startProxy = async (base) => {
  const { hostname, port } = new URL(base);
  const connections = new Set();
  const state = { isCut: false, isSilent: false };
  const server = net.createServer((client) => {
    if (state.isCut) return client.destroy();
    const upstream = net.connect(Number(port), hostname);
    const connection = { client, upstream };
    connections.add(connection);
    const end = () => { client.destroy(); upstream.destroy(); connections.delete(connection); };
    const forward = (to) => (bytes) => { if (!state.isSilent) to.write(bytes); };
    client.on("data", forward(upstream)).on("error", end).on("close", end);
    upstream.on("data", forward(client)).on("error", end).on("close", end);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const drop = () => { for (const { client, upstream } of connections) { client.destroy(); upstream.destroy(); } };
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    cut() { state.isCut = true; drop(); },
    silence() { state.isSilent = true; },
    restore() { state.isCut = state.isSilent = false; drop(); },
  };
};
