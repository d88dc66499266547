// Rejoin tokens of hubcast for connections of @microsoft/signalr. hubcast-rejoin.d.ts documents the exports.

/** The query parameter that requests tokens, and that presents one. */
const PARAMETER = "rejoin";
/** The value of the parameter while there is no token. */
const NO_TOKEN_YET = "1";

/** The URL with this value of the parameter. All other parameters stay as they are written. */
const withParameter = (base, value) => {
  const url = new URL(base);
  const others = url.search.slice(1).split("&").filter((pair) => pair && !pair.startsWith(`${PARAMETER}=`));
  url.search = [...others, `${PARAMETER}=${encodeURIComponent(value)}`].join("&");
  return url.href;
};

/** The default key in the storage: one for each hub. */
const keyOf = (base) => {
  const { origin, pathname } = new URL(base);
  return `hubcast-rejoin:${origin}${pathname}`;
};

/** A promise with its `resolve`, and whether it is resolved. */
const pending = () => {
  const result = { isResolved: false };
  result.promise = new Promise((resolve) => {
    result.resolve = (value) => { result.isResolved = true; resolve(value); };
  });
  return result;
};

export const enableRejoin = (connection, options = {}) => {
  // Without a new URL, `baseUrl` is absolute also where the application has given a relative one.
  const { storage, key = keyOf(connection.baseUrl), onRejoined } = options;
  let token = storage?.getItem(key) ?? null;
  let isForgotten = false;
  let report = pending();

  const presentToken = () => {
    isForgotten = false;
    if (report.isResolved) report = pending();
    connection.baseUrl = withParameter(connection.baseUrl, token ?? NO_TOKEN_YET);
  };

  connection.on("hubcast:rejoined", (value) => {
    report.resolve(value);
    onRejoined?.(value);
  });
  connection.on("hubcast:rejoinToken", (latest) => {
    // Order: a report arrives before the first token. Without one, the client has presented no token.
    report.resolve(null);
    if (isForgotten) return;
    token = latest;
    storage?.setItem(key, latest);
  });

  // A connection opens here or after `onreconnecting`. An `onclose` callback would be too late for an application that
  // starts the connection again in a callback of its own.
  const start = connection.start;
  connection.start = (...args) => {
    if (connection.state === "Disconnected") presentToken();
    return start.apply(connection, args);
  };
  connection.onreconnecting(presentToken);

  return {
    get token() { return token; },
    report: () => report.promise,
    forget() {
      token = null;
      storage?.removeItem(key);
      if (connection.state === "Reconnecting") presentToken();
      else isForgotten = true;
    },
  };
};
