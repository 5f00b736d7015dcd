// One worker: tries the numbers it is given. The hash is Argon2id, one pass and one lane, of puzzle and number.

import setup from "./vendor/argon2id.js";

const TAG_OCTETS = 16;
const load = (name) => (imports) =>
  WebAssembly.instantiateStreaming(fetch(new URL(`vendor/${name}`, import.meta.url)), imports);

let hash;
let terms;

function zeroBits(tag) {
  let bits = 0;
  for (const octet of tag) {
    if (octet !== 0) return bits + Math.clz32(octet) - 24;
    bits += 8;
  }
  return bits;
}

function attempt(puzzle, number) {
  const password = new Uint8Array(9);
  password[0] = puzzle;
  new DataView(password.buffer).setBigUint64(1, BigInt(number));
  const { salt, memory_kib: memorySize } = terms;
  return hash({ password, salt, parallelism: 1, passes: 1, memorySize, tagLength: TAG_OCTETS });
}

self.onmessage = async ({ data }) => {
  try {
    if (data.salt) {
      terms = data;
      hash = await setup(load("argon2id-simd.wasm"), load("argon2id-plain.wasm"));
      postMessage({ ready: true });
    } else {
      postMessage({ ...data, bits: zeroBits(attempt(data.puzzle, data.number)) });
    }
  } catch (error) {
    postMessage({ trouble: String(error) });
  }
};
