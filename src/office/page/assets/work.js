// One worker: tries the numbers it is given. The hash is Argon2id, one pass and one lane, of what is to be solved and the
// number.

import setup from "./vendor/argon2id.js";

const TAG_OCTETS = 16;
const load = (name) => (imports) => {
  const { memory } = imports.env;
  const grow = memory.grow.bind(memory);
  // The library grows its memory by nothing after each hash, to drop what looks into it. Nothing here is secret, and that
  // takes longer than a small hash.
  memory.grow = (pages) => (pages ? grow(pages) : undefined);
  return WebAssembly.instantiateStreaming(fetch(new URL(`vendor/${name}`, import.meta.url)), imports);
};

let hash;
let salt;

function zeroBits(tag) {
  let bits = 0;
  for (const octet of tag) {
    if (octet !== 0) return bits + Math.clz32(octet) - 24;
    bits += 8;
  }
  return bits;
}

/// The first of so many numbers that solves it, if one does.
function solution({ what, number, count, bits, memory_kib: memorySize }) {
  const password = new Uint8Array(what.length + 8);
  password.set(what);
  for (const end = number + count; number < end; number += 1) {
    new DataView(password.buffer).setBigUint64(what.length, BigInt(number));
    const tag = hash({ password, salt, parallelism: 1, passes: 1, memorySize, tagLength: TAG_OCTETS });
    if (zeroBits(tag) >= bits) return number;
  }
}

self.onmessage = async ({ data }) => {
  try {
    if (data.salt) {
      salt = data.salt;
      hash = await setup(load("argon2id-simd.wasm"), load("argon2id-plain.wasm"));
      postMessage({ ready: true });
    } else {
      postMessage({ puzzle: data.puzzle, found: solution(data) });
    }
  } catch (error) {
    postMessage({ trouble: String(error) });
  }
};
