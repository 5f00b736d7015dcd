// The page of a refusal: a pass by work, or by a stamp that is bought (purse.js). Nothing here is needed to read the page.

const at = (id) => document.getElementById(id);
const main = document.querySelector("main");
const words = JSON.parse(main.dataset.words);
export const language = document.documentElement.lang;

export const MICROS_PER_CENT = 10_000;
// What the text says of energy: a laptop that calculates draws so much more than one that does not.
const WATTS = 15;
const US_CENTS_PER_KWH = 30;
const JOULES_PER_KWH = 3.6e6;
// More would need more memory than a phone has to spare (32 MiB each), and gains little where memory is what is slow.
const WORKERS_MAX = 4;
// How often the numbers on the page change, and how often a screen reader is told, in milliseconds.
const SHOW_EVERY_MS = 250;
const TELL_EVERY_MS = 5_000;
const FIRST_TELL_MS = 1_500;
// Tries of each worker that are measured, after those in which the browser gets up to speed; and the octets of a challenge.
const WARMING_TRIES = 3;
const MEASURED_TRIES = 2;
const SALT_OCTETS = 41;
// Tries of the seal that a worker makes in one go; a fiftieth of a second.
const SEAL_TRIES = 32;
// How often what was worked is brought again when the office does not answer, and after how long.
const BRING_TRIES = 10;
const BRING_EVERY_MS = 5_000;
// Standard deviations between which luck is four times out of five.
const FOUR_OF_FIVE = 1.2816;

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (blank, name) => values[name] ?? blank);

/// A text in the reader's language, its blanks filled.
export const say = (key, values = {}) => fill(words[key], values);

/// An amount as people write it here: hundredths of the unit.
export const amount = (micros) => `${micros / MICROS_PER_CENT}c`;

/// What is wrong, in the reader's language; in the office's own words where it is none of what the page knows.
function refused(document, answer) {
  const text = words.problem[document.code];
  if (!text) return say("refused", { detail: document.detail ?? answer.status });
  const seconds = answer.headers.get("Retry-After") ?? "60";
  return fill(text, { seconds, balance: amount(document.balance), cost: amount(document.cost) });
}

/// A number as the reader writes it, to so many significant digits.
function number(value, digits = 2) {
  return new Intl.NumberFormat(language, { maximumSignificantDigits: digits }).format(value);
}

// Where the way that was chosen says how it goes.
let place = "pay-said";

export function tell(text, isFault = false) {
  at(place).textContent = text;
  at(place).classList.toggle("fault", isFault);
}

/// What went wrong, in words for the reader.
export class Trouble extends Error {}

function fault(error) {
  if (!(error instanceof Trouble)) console.error(error);
  tell(error instanceof Trouble ? error.message : say("no_reach"), true);
}

// The office's clock less this one, in seconds: what is signed bears the office's time.
let clockAhead = 0;
export const officeTime = () => Math.floor(Date.now() / 1000) + clockAhead;

/// Calls the office; a refusal is thrown in its words.
export async function call(url, options) {
  let answer;
  try {
    answer = await fetch(url, { ...options, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch {
    throw new Trouble(say("no_reach"));
  }
  const date = Date.parse(answer.headers.get("Date") ?? "");
  if (!Number.isNaN(date)) clockAhead = Math.round((date - Date.now()) / 1000);
  const value = await answer.json().catch(() => ({}));
  if (answer.ok) return value;
  const refusal = new Trouble(refused(value, answer));
  refusal.status = answer.status;
  refusal.value = value;
  throw refusal;
}

/// Asks this page's own address for something about a letter from the address in the form.
export const ask = (question) =>
  call(location.pathname, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  });

/// The address in the form; says so and throws when it is none.
export function sender() {
  const field = at("from");
  const from = field.value.trim();
  const good = /^[^\s@]+@[^\s@]+\.[^\s@.]+$/.test(from);
  field.setAttribute("aria-invalid", String(!good));
  at("fault").textContent = good ? "" : say("bad_from");
  if (!good) {
    field.focus();
    throw new Trouble("");
  }
  return from;
}

/// The end of it: what to do now. `header` is the stamp's field, where there is one.
export function letIn(pass, header) {
  const until = new Date(pass.until * 1000);
  at("let-in").textContent = say("let_in", {
    from: pass.from,
    to: pass.to,
    until: new Intl.DateTimeFormat(language, { dateStyle: "long" }).format(until),
  });
  at("header-way").hidden = !header;
  at("header").textContent = header ?? "";
  at("done").hidden = false;
  tell("");
  at("done-heading").focus();
}

// ---- work ----

/// Workers that try numbers: `next` gets what one has tried, nothing at first, and gives what it is to try, or nothing.
function hire(salt, next, failed) {
  const count = Math.max(1, Math.min(WORKERS_MAX, navigator.hardwareConcurrency ?? 2));
  const workers = Array.from({ length: count }, () => {
    const worker = new Worker(new URL("work.js", import.meta.url), { type: "module" });
    const give = (task) => task && worker.postMessage(task);
    worker.onerror = () => failed(new Trouble(say("no_wasm")));
    worker.onmessage = ({ data }) => {
      if (data.trouble) failed(new Trouble(say("no_wasm")));
      else give(next(data.ready ? undefined : data));
    };
    worker.postMessage({ salt });
    return worker;
  });
  return { count, dismiss: () => workers.forEach((worker) => worker.terminate()) };
}

// Those at work.
let crew;

/// What is to be tried next, with the numbers that were found: a puzzle, or the seal over them all. Tries of a puzzle are
/// dealt out one at a time, so that it can stop at any moment; those of the seal are small.
function task(challenge, numbers) {
  const puzzle = numbers.length;
  const { bits, memory_kib } = challenge;
  if (puzzle < challenge.puzzles) return { puzzle, what: Uint8Array.of(puzzle), count: 1, bits, memory_kib };
  const what = new Uint8Array(8 * puzzle);
  numbers.forEach((number, place) => new DataView(what.buffer).setBigUint64(8 * place, BigInt(number)));
  return { puzzle, what, count: SEAL_TRIES, bits: challenge.seal_bits, memory_kib: challenge.seal_memory_kib };
}

/// Finds a number for each puzzle of a challenge, and the one that seals them.
function solve(challenge, salt, stopped) {
  const show = shower(challenge);
  const numbers = [];
  let tries = 0;
  // One thing at a time.
  crew?.dismiss();
  const work = new Promise((done, failed) => {
    stopped.addEventListener("abort", () => failed(stopped.reason));
    const next = (tried) => {
      if (tried) {
        // What another worker has solved meanwhile is of no use any more.
        const solved = tried.puzzle === numbers.length && tried.found !== undefined;
        if (solved) numbers.push(tried.found);
        if (tried.puzzle < challenge.puzzles) show(numbers.length, solved);
      }
      if (numbers.length > challenge.puzzles) {
        return void done({ nonces: numbers.slice(0, -1), seal: numbers.at(-1) });
      }
      const now = task(challenge, numbers);
      tries += now.count;
      return { ...now, number: tries - now.count };
    };
    crew = hire(salt, next, failed);
  });
  return work.finally(() => crew?.dismiss());
}

/// Tries a second, by a few of each worker: a hundredth of the work at the usual difficulty.
function measure() {
  const memory_kib = Number(main.dataset.memoryKib);
  const measured = new Promise((done, failed) => {
    let tries = 0;
    let begun;
    const next = (tried) => {
      if (tried) tries += 1;
      const measured = tries - WARMING_TRIES * crew.count;
      if (tried && measured === 0) begun = performance.now();
      if (measured < MEASURED_TRIES * crew.count) {
        return { what: Uint8Array.of(0), number: 0, count: 1, bits: 0, memory_kib };
      }
      return void done((1000 * measured) / (performance.now() - begun));
    };
    crew = hire(new Uint8Array(SALT_OCTETS), next, failed);
  });
  return measured.finally(() => crew?.dismiss());
}

/// Between which times the work will be, four times out of five: so many puzzles, each a wait of so many tries on average.
function between(puzzles, average, perSecond) {
  const ninth = 1 / (9 * puzzles);
  const luck = (deviations) => Math.max(0, 1 - ninth + deviations * Math.sqrt(ninth)) ** 3;
  const seconds = (deviations) => (puzzles * average * luck(deviations)) / perSecond;
  return { least: duration(seconds(-FOUR_OF_FIVE)), most: duration(seconds(FOUR_OF_FIVE)) };
}

/// A time as the reader writes it, roughly.
function duration(seconds) {
  const [value, unit] = seconds < 100 ? [Math.max(1, seconds), "second"] : [seconds / 60, "minute"];
  const rounded = value < 10 ? Math.round(value) : Number(value.toPrecision(2));
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(rounded);
}

/// Says how long this computer will take, once.
async function tellSpeed() {
  const puzzles = Number(main.dataset.puzzles);
  const average = 2 ** Number(main.dataset.bits);
  try {
    const perSecond = await measure();
    const cost = energy((puzzles * average) / perSecond);
    at("speed").textContent = say("speed", { ...between(puzzles, average, perSecond), ...cost });
    at("speed").hidden = false;
  } catch {
    // Who presses the button is told what is wrong; until then it is nobody's trouble.
  }
}

/// Shows how far the work is: by what was tried, not by the clock. How long it takes is luck.
function shower(challenge) {
  const average = 2 ** challenge.bits;
  const begun = performance.now();
  const bar = at("bar");
  let tries = 0;
  let here = 0;
  let shown = 0;
  // The first estimate comes when there is something to go by.
  let told = begun + FIRST_TELL_MS - TELL_EVERY_MS;
  return (solved, next) => {
    tries += 1;
    here = next ? 0 : here + 1;
    const now = performance.now();
    if (now - shown < SHOW_EVERY_MS) return;
    shown = now;
    const elapsed = (now - begun) / 1000;
    const part = (solved + 1 - Math.exp(-here / average)) / challenge.puzzles;
    bar.value = Math.max(bar.value, 100 * part);
    at("energy").textContent = say("energy", { elapsed: duration(elapsed), ...energy(elapsed) });
    if (now - told < TELL_EVERY_MS) return;
    told = now;
    const unlucky = solved + 1 === challenge.puzzles && here > 2 * average;
    const left = between(challenge.puzzles - solved, average, tries / elapsed);
    const percent = number(Math.floor(bar.value), 2);
    tell(unlucky ? say("working_luck") : say("working", { percent, ...left }));
  };
}

function energy(seconds) {
  const joules = seconds * WATTS;
  return { joules: number(joules), cents: number((joules / JOULES_PER_KWH) * US_CENTS_PER_KWH) };
}

function octets(base64url) {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/// Brings what was worked; where the office cannot look at it just now, again a little later.
async function bring(solution) {
  for (let left = BRING_TRIES; ; left -= 1) {
    try {
      return await ask(solution);
    } catch (refusal) {
      if ((refusal.status ?? 503) !== 503 || left === 0) throw refusal;
      await new Promise((goOn) => setTimeout(goOn, BRING_EVERY_MS));
    }
  }
}

async function work() {
  const from = sender();
  const stop = new AbortController();
  const button = at("work");
  at("stop").onclick = () => stop.abort();
  at("bar").value = 0;
  at("energy").textContent = "";
  at("done").hidden = true;
  button.disabled = true;
  // A phone that goes to sleep works no more.
  const awake = navigator.wakeLock?.request("screen").catch(() => undefined);
  try {
    tell(say("getting_ready"));
    const { challenge } = await ask({ from });
    at("progress").hidden = false;
    const solution = await solve(challenge, octets(challenge.text), stop.signal);
    at("bar").value = 100;
    tell(say("checking"));
    letIn(await bring({ from, challenge: challenge.text, ...solution }));
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    tell(say("stopped"));
  } finally {
    awake?.then((lock) => lock?.release());
    at("progress").hidden = true;
    button.disabled = false;
  }
}

// ---- the form ----

/// A handler that does something and says where it belongs what went wrong.
const guard = (action, saidAt = "pay-said") => (event) => {
  event?.preventDefault();
  place = saidAt;
  return Promise.resolve(event).then(action).catch(fault);
};

/// The button says what is paid.
function showAmount() {
  const [typed, button] = [at("amount").value.trim(), at("pay")];
  const { price, shown = price } = button.dataset;
  button.dataset.shown = /^\d{1,7}(\.\d{1,4})?c$/.test(typed) ? typed : price;
  button.textContent = button.textContent.replace(shown, button.dataset.shown);
}

async function pay() {
  // Keys and hashes are loaded only by those who pay.
  const purse = await import("./purse.js");
  await purse.pay(guard);
}

/// The ways that need a script, in place of those that do not.
function unfold() {
  const typed = at("from")?.value;
  const isTyping = Boolean(typed) && document.activeElement === at("from");
  at("plain").insertAdjacentHTML("afterend", at("scripted").textContent);
  at("plain").remove();
  if (typed) at("from").value = typed;
  if (isTyping) at("from").focus();
}

if (at("scripted") && main.dataset.to) {
  unfold();
  at("form").addEventListener("submit", at("work") ? guard(work, "work-said") : guard(pay));
  at("amount").addEventListener("input", showAmount);
  if (at("work")) {
    at("pay").addEventListener("click", guard(pay));
    at("form").addEventListener("focusin", () => tellSpeed(), { once: true });
  }
} else if (at("scripted")) {
  // The page of a voucher: its form does nothing before that is loaded.
  import("./purse.js").then(({ openVoucher }) => {
    unfold();
    openVoucher(guard);
  });
}
