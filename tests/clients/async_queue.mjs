// A queue of received values with an asynchronous `next`. Node and a page use this file alike.
export class AsyncQueue {
  #values = [];
  #waiting = [];
  add(value) { const waiting = this.#waiting.shift(); waiting ? waiting(value) : this.#values.push(value); }
  next() { return this.#values.length ? Promise.resolve(this.#values.shift()) : new Promise((resolve) => this.#waiting.push(resolve)); }
  get isEmpty() { return this.#values.length === 0; }
}
