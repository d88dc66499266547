import { createHmac } from "node:crypto";

// A JSON web token (HS256). It expires in an hour, unless the claims say otherwise.
export const signToken = (secret, claims) => {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
};
