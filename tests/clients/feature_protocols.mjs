// The hub protocols of the official client. Node and a page use this file alike.

// Returns a function of a format and options. With `bigIntegers`, the MessagePack protocol uses an encoder that writes and
// reads 64-bit integers as BigInt, and writes a Map with its keys as they are; its own one does neither.
export const createProtocols = (signalR, { MessagePackHubProtocol }, { Encoder, Decoder }) => {
  class MapEncoder extends Encoder {
    encodeMap(value, depth) {
      if (!(value instanceof Map)) return super.encodeMap(value, depth);
      this.writeU8(0x80 + value.size);
      for (const entry of value) for (const part of entry) this.doEncode(part, depth + 1);
    }
  }

  return (format, { bigIntegers = false }) => {
    if (format === "json") return new signalR.JsonHubProtocol();
    const protocol = new MessagePackHubProtocol();
    if (bigIntegers) Object.assign(protocol, { _encoder: new MapEncoder({ useBigInt64: true }), _decoder: new Decoder({ useBigInt64: true }) });
    return protocol;
  };
};
