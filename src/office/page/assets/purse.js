// The account of this browser: a key that stays here, and what is bought with it (SPEC.md §3, §10). Its secret is one as
// a wallet of the program farthing has, and the keys come of it in the same way, so that each reads the other's file.

import { blake3, getPublicKeyAsync, signAsync } from "./vendor/noble.js";
import { MICROS_PER_CENT, Trouble, amount, ask, call, language, letIn, officeTime, say, sender, tell } from "./page.js";

const at = (id) => document.getElementById(id);
const { office, currency } = document.querySelector("main").dataset;
// The page is OFFICE/p/ADDRESS, its scripts are OFFICE/p/-/VERSION/: the office's paths are three steps up.
const root = new URL("../../../", import.meta.url);

const SEED = `postage-wallet ${office}`;
const OPEN = `postage-open-order ${office}`;
// The account whose key is known to be elsewhere too.
const SAVED = `postage-saved ${office}`;
const SEED_TEXT = /^[A-Za-z0-9_-]{43}$/;
const WALLET_VERSION = 1;
// A wallet of a hundred thousand stamps has fifteen million octets.
const WALLET_OCTETS_MAX = 64 * 1024 * 1024;

// How often the account is looked at while somebody pays elsewhere, and for how long, in milliseconds.
const LOOK_EVERY_MS = 4_000;
const LOOK_FOR_MS = 3_600_000;

const text = new TextEncoder();
const random = (count) => crypto.getRandomValues(new Uint8Array(count));

function base64(octets) {
  return btoa(String.fromCharCode(...octets)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function octetsOf(base64url) {
  const plain = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

/// Text, octets, and numbers as u64 or with a length before them, in one row.
function joined(...parts) {
  const all = parts.map((part) => (typeof part === "string" ? text.encode(part) : part));
  const row = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of all) {
    row.set(part, end);
    end += part.length;
  }
  return row;
}

function u64(value) {
  const octets = new Uint8Array(8);
  new DataView(octets.buffer).setBigUint64(0, BigInt(value));
  return octets;
}

function lengthBefore(value) {
  const octets = text.encode(value);
  return joined(Uint8Array.of(octets.length >> 8, octets.length & 255), octets);
}

/// An amount in units of the currency, as the reader writes money.
function inUnits(micros) {
  const money = { style: "currency", currency, maximumFractionDigits: 6 };
  return new Intl.NumberFormat(language, money).format(micros / MICROS_PER_CENT / 100);
}

/// What is to be paid: the price, or more, where a refusal asked for more (SPEC.md §2).
function toPay(price) {
  const written = at("amount").value.trim();
  if (!written) return price;
  const [, whole, part = ""] = /^(\d{1,7})(?:\.(\d{1,4}))?c$/.exec(written) ?? [];
  const micros = Number(whole) * MICROS_PER_CENT + Number(part.padEnd(4, "0"));
  if (!(micros >= price)) throw new Trouble(say("bad_amount", { price: amount(price) }));
  return micros;
}

// ---- the key ----

function seed() {
  try {
    let kept = localStorage.getItem(SEED);
    if (!kept) {
      kept = base64(random(32));
      localStorage.setItem(SEED, kept);
    }
    return octetsOf(kept);
  } catch {
    throw new Trouble(say("no_keys"));
  }
}

/// A key of the seed, for one purpose.
const derived = (purpose, ...parts) =>
  blake3(joined(seed(), ...parts), { context: text.encode(`farthing wallet 1: ${purpose}`) });

const accountKey = () => derived("the account's key");
const holderKey = (id) => derived("the key of one stamp, by id and office", id, office);
const account = async () => base64(await getPublicKeyAsync(accountKey()));

async function saveKey() {
  const wallet = {
    version: WALLET_VERSION,
    seed: base64(seed()),
    offices: [{ office, url: root.href }],
    note: say("key_note"),
  };
  const file = new Blob([`${JSON.stringify(wallet, null, 1)}\n`], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `postage-wallet-${office}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  localStorage.setItem(SAVED, await account());
}

/// The seed in a wallet's file.
async function seedIn(file) {
  const wallet = await file.slice(0, WALLET_OCTETS_MAX).text().then(JSON.parse).catch(() => undefined);
  if (!(wallet?.version <= WALLET_VERSION && SEED_TEXT.test(wallet.seed))) throw new Trouble(say("key_bad"));
  return wallet.seed;
}

async function loadKey({ target }) {
  const [file] = target.files;
  if (!file) return;
  const found = await seedIn(file).finally(() => (target.value = ""));
  const before = await account();
  if (found !== base64(seed()) && localStorage.getItem(SAVED) !== before) {
    const { balance, outstanding } = await signed("GET", "v1/account");
    if (balance + outstanding > 0) throw new Trouble(say("key_first", { balance: amount(balance + outstanding) }));
  }
  localStorage.setItem(SEED, found);
  localStorage.removeItem(OPEN);
  localStorage.setItem(SAVED, await account());
  await showAccount();
  tell(say("key_loaded"));
}

// ---- the office ----

/// A signed call (SPEC.md §10).
async function signed(method, path, value) {
  const body = value === undefined ? "" : JSON.stringify(value);
  const date = String(officeTime());
  const bytes = joined(
    "postage-request-v1\0",
    `${method}\n/${path}\n${office}\n${date}\n`,
    blake3(text.encode(body)),
  );
  const headers = {
    "Postage-Account": await account(),
    "Postage-Date": date,
    "Postage-Signature": base64(await signAsync(bytes, accountKey())),
  };
  if (body) headers["Content-Type"] = "application/json";
  return call(new URL(path, root), { method, headers, body: body || undefined });
}

async function showAccount() {
  const held = await signed("GET", "v1/account");
  at("account").textContent = held.account;
  at("balance").textContent = amount(held.balance);
  at("units").textContent = inUnits(held.balance);
  // Whom the payment is for stands in the link.
  if (at("payment")) at("payment").href = at("payment").dataset.before + held.account;
  at("purse").hidden = false;
  return held.balance;
}

let looking;

/// Somebody went to pay elsewhere: waits for the money and says when it is there.
function awaitPayment() {
  const said = at("pay-said");
  const before = at("balance").textContent;
  const end = Date.now() + LOOK_FOR_MS;
  clearInterval(looking);
  said.classList.remove("fault");
  said.textContent = say("payment_awaited");
  looking = setInterval(async () => {
    // An office that does not answer now may the next time.
    const balance = await showAccount().catch(() => undefined);
    const isThere = balance !== undefined && amount(balance) !== before;
    if (isThere || Date.now() > end) clearInterval(looking);
    if (isThere) said.textContent = `${say("payment_came", { balance: amount(balance) })} ${next(balance)}`;
  }, LOOK_EVERY_MS);
}

// What the letter costs, as it was last asked; the page of a voucher is about none.
let needed;

/// What to do with so much on the account.
function next(balance) {
  if (needed === undefined) return "";
  if (balance >= needed) return say("then_pay", { button: at("pay").textContent });
  return say("too_little", { balance: amount(balance), price: amount(needed) });
}

async function useVoucher() {
  const field = at("voucher");
  const code = field.value.trim();
  if (!code) return field.focus();
  field.removeAttribute("aria-invalid");
  const { credited, before } = await signed("POST", "v1/vouchers", { code }).catch((refusal) => {
    if (refusal.value?.code?.startsWith("voucher-")) {
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
    throw refusal;
  });
  field.value = "";
  const balance = await showAccount();
  const values = { amount: amount(credited) };
  tell(`${before ? say("credited_before", values) : say("credited", values)} ${next(balance)}`.trim());
}

function onKeyButtons(guard) {
  at("key-save").addEventListener("click", guard(saveKey));
  at("key-load").addEventListener("change", guard(loadKey));
}

/// The page of a voucher: its code stands behind `#`, where no server sees it.
export function openVoucher(guard) {
  at("voucher").value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
  at("voucher-form").addEventListener("submit", guard(useVoucher));
  onKeyButtons(guard);
}

// ---- the stamp ----

/// Buys a stamp. The order is kept until it is answered: sent again it is charged once.
async function buy(terms) {
  const audience = terms.to.slice(terms.to.lastIndexOf("@") + 1);
  let open = JSON.parse(localStorage.getItem(OPEN) ?? "null");
  if (open?.audience !== audience || open?.value !== terms.price) {
    open = { audience, value: terms.price, id: base64(random(16)) };
    localStorage.setItem(OPEN, JSON.stringify(open));
  }
  const id = octetsOf(open.id);
  const holder = holderKey(id);
  const k = await getPublicKeyAsync(holder);
  const order = { audience, value: open.value, stamps: [{ id: open.id, k: base64(k) }] };
  const { s, x, b } = await signed("POST", "v1/stamps", order);
  return { s, x, b: octetsOf(b[0]), id, k, holder, audience, value: open.value };
}

/// The field's value: the stamp, cancelled for this sender and this recipient (SPEC.md §3).
async function cancelled(stamp, terms) {
  const bytes = joined(
    "postage-stamp-v1\0",
    lengthBefore(office),
    lengthBefore(stamp.s),
    stamp.id,
    u64(stamp.value),
    lengthBefore(currency),
    lengthBefore(stamp.audience),
    u64(stamp.x),
    stamp.k,
  );
  const r = blake3(joined("postage-rcpt-v1\0", stamp.id, terms.to)).slice(0, 16);
  const f = blake3(joined("postage-from-v1\0", stamp.id, terms.from)).slice(0, 16);
  const t = officeTime();
  const cancellation = joined("postage-cancel-v1\0", blake3(joined(bytes, stamp.b)), u64(t), r, f);
  const h = await signAsync(cancellation, stamp.holder);
  return [
    `v=1; i=${office}; s=${stamp.s}; id=${base64(stamp.id)}; n=${stamp.value}; c=${currency};`,
    `d=${stamp.audience}; x=${stamp.x}; k=${base64(stamp.k)};`,
    `b=${base64(stamp.b)};`,
    `t=${t}; r=${base64(r)}; f=${base64(f)};`,
    `h=${base64(h)}`,
  ].join("\r\n ");
}

let ready = false;

/// Buys a stamp for the letter and leaves it with the office as a pass; or says what is missing.
export async function pay(guard) {
  clearInterval(looking);
  const from = sender();
  at("done").hidden = true;
  at("pay").disabled = true;
  try {
    tell(say("paying"));
    if (!ready) {
      const { funding } = await call(new URL(".well-known/postage", root));
      at("voucher-way").hidden = !funding.includes("voucher");
      at("voucher-none").hidden = funding.includes("voucher");
      at("voucher-use").addEventListener("click", guard(useVoucher));
      at("voucher").addEventListener("keydown", (event) => {
        if (event.key === "Enter") guard(useVoucher)(event);
      });
      at("payment")?.addEventListener("click", awaitPayment);
      onKeyButtons(guard);
      ready = true;
    }
    const told = await ask({ from });
    const terms = { ...told, price: toPay(told.price) };
    needed = terms.price;
    const balance = await showAccount();
    const open = localStorage.getItem(OPEN);
    if (balance < terms.price && !open) {
      tell(say("too_little", { balance: amount(balance), price: amount(terms.price) }));
      return;
    }
    const field = await cancelled(await buy(terms), terms);
    const pass = await ask({ from, stamp: field });
    localStorage.removeItem(OPEN);
    await showAccount();
    letIn(pass, `Postage-Stamp: ${field}`);
  } catch (refusal) {
    // An order that was refused was not charged, and a stamp that is spent does for no letter: the ids are not used again.
    if ([402, 409].includes(refusal.status)) localStorage.removeItem(OPEN);
    throw refusal;
  } finally {
    at("pay").disabled = false;
  }
}
