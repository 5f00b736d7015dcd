#!/bin/sh
# Makes src/office/page/assets/vendor anew from npm: the libraries that the page of a refusal gives to browsers. Versions
# and checksums stand in packaging/vendor/package-lock.json; the same lock gives the same files, octet for octet.
# Needed only to take a newer version: change package.json, run `npm install --package-lock-only` beside it, then this.
# Needs npm and its registry. With --check it changes nothing and fails where the files differ.
set -eu
cd "$(dirname "$0")/.."
to=src/office/page/assets/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp packaging/vendor/package.json packaging/vendor/package-lock.json "$work"
npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund --silent
mkdir "$work/out"

# One module of a few exports: the rest of the library is left out.
bundle() {
    printf '%s\n' "$2" >"$work/entry.js"
    "$work/node_modules/.bin/esbuild" "$work/entry.js" --bundle --format=esm --target=es2022 --minify \
        --charset=utf8 --legal-comments=none --log-level=warning --banner:js="/* $3; see LICENSES */" \
        --outfile="$work/out/$1"
}
bundle noble.js "export { getPublicKeyAsync, signAsync } from '@noble/ed25519';
export { blake3 } from '@noble/hashes/blake3.js';" "noble-ed25519 3.2.0 and noble-hashes 2.4.0, MIT"
bundle argon2id.js "export { default } from 'argon2id/lib/setup.js';" "argon2id 1.0.1, MIT"
cp "$work/node_modules/argon2id/dist/simd.wasm" "$work/out/argon2id-simd.wasm"
cp "$work/node_modules/argon2id/dist/no-simd.wasm" "$work/out/argon2id-plain.wasm"
chmod 0644 "$work"/out/*.wasm
for package in @noble/ed25519 @noble/hashes argon2id; do
    printf '%s\n\n' "$package"
    cat "$work/node_modules/$package/LICENSE"
    printf '\n'
done >"$work/out/LICENSES"

if [ "${1:-}" = --check ]; then
    diff -r "$work/out" "$to"
else
    rm -rf "$to"
    mv "$work/out" "$to"
fi
