#!/bin/bash
# Sends a letter with postage: one copy for each recipient, each with a stamp of its own.
#
#   examples/send-stamped.sh alice@a.example bob@b.example carol@c.example < letter.eml
#
# The first address is the sender, the same as in the letter's From field: stamps are bound to it.
# Needs a wallet with money at the recipient's post office: see "Sending with stamps" in README.md.
# Stamps are bought when none is in hand.
#
#   OFFICE    URL of the post office to buy from; without it the office is found by DNS
#   SENDMAIL  program that takes the stamped letter; /usr/sbin/sendmail
set -euo pipefail

(($# >= 2)) || { echo "usage: ${0##*/} SENDER RECIPIENT... < letter.eml" >&2; exit 64; }
sender=$1
shift
sendmail=${SENDMAIL:-/usr/sbin/sendmail}
office=(${OFFICE:+--office "$OFFICE"})

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/letter"

# 0: the stamped letter is in $folder/stamped. 1: there is no stamp in hand for this recipient.
stamp() { farthing stamp --to "$1" < "$folder/letter" > "$folder/stamped"; }

failed=0
for recipient in "$@"; do
    status=0
    stamp "$recipient" 2> "$folder/why" || status=$?
    if ((status == 1)); then
        farthing buy "${recipient##*@}" --count 1 "${office[@]}" >&2 && status=0 || status=$?
        ((status)) || stamp "$recipient" || status=$?
    elif ((status)); then
        cat "$folder/why" >&2
    fi
    if ((status)); then
        echo "${0##*/}: nothing was sent to $recipient" >&2
        failed=$status
        continue
    fi
    if ! "$sendmail" -i -f "$sender" -- "$recipient" < "$folder/stamped"; then
        # The stamp has left the wallet. Sending this very letter again costs nothing more.
        kept=$(mktemp "${TMPDIR:-/tmp}/stamped-letter.XXXXXX")
        mv "$folder/stamped" "$kept"
        echo "${0##*/}: $sendmail did not take the letter to $recipient; it is kept, stamped, as $kept" >&2
        failed=75
    fi
done
exit "$failed"
