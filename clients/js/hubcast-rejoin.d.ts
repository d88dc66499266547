/** Why the server refused a token. */
export type RejoinRefusal =
  | "malformed"
  | "unknownKey"
  | "forged"
  | "expired"
  | "wrongUser"
  | "wrongHub"
  | "wrongConnection"
  /** It was used before. */
  | "replayed"
  | "revoked"
  /** The store of the server did not answer. */
  | "unchecked";

/** What the server tells a client that has presented a token. */
export interface RejoinReport {
  /** The groups that the connection is in, by hub: those of the token and the durable ones. */
  groups: Record<string, string[]>;
  /** The number of further groups that it is in, if their names exceed 32 KiB. */
  more: number;
  /** `null`, or why the token was refused. The connection then starts without the groups of the token. */
  refused: RejoinRefusal | null;
  /** The number of groups that the token could not list. The client has to join them again. */
  lost: number;
  /** The number of groups that the token lists and does not restore, because the tokens of the group were revoked. */
  revoked: number;
}

/** `sessionStorage`, `localStorage` or an object with the same three methods. */
export interface RejoinStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface RejoinOptions {
  /** Keeps the token, so that it survives a page reload. Default: the token is kept in memory. */
  storage?: RejoinStorage;
  /** The key in the storage. Default: `hubcast-rejoin:` and the URL of the hub without its query. Connections of one
   *  page to the same hub need different keys. */
  key?: string;
  /** Called for each connection that has presented a token. */
  onRejoined?: (report: RejoinReport) => void;
}

/** The part of `HubConnection` that is used. */
export interface RejoinConnection {
  /** Read: an absolute URL. */
  baseUrl: string;
  readonly state: string;
  start(): Promise<void>;
  on(methodName: string, newMethod: (...args: any[]) => any): void;
  onreconnecting(callback: (error?: Error) => void): void;
}

export interface Rejoin {
  /** The latest token; `null` before the first one. */
  readonly token: string | null;
  /** The report on the current connection, or on the next one while there is none. `null` if it has presented no token. */
  report(): Promise<RejoinReport | null>;
  /** Deletes the token: the next connection starts without it, so only in durable groups. For signing out. */
  forget(): void;
}

/**
 * Lets a connection return to its groups whenever it connects again: by automatic reconnect, by `start()`, and with a
 * storage after a page reload. Call it once, before the connection starts. It replaces `connection.start` by a function
 * that presents the token and then starts.
 */
export function enableRejoin(connection: RejoinConnection, options?: RejoinOptions): Rejoin;
