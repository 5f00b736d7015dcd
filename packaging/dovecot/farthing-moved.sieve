# Run by Dovecot when a user moves or copies a letter: tells Farthing whether it was wanted. Into Wanted, or out of
# Strangers or Junk: what was paid goes back, and the sender is known from now on, if the letter authenticated. Into
# Junk: no money moves, but a known sender is a stranger again.
#
# The names of the folders are yours to change. Where a mail program moves letters into Junk by itself, that counts as
# the user's word; take that branch away then.
#
# It is one script for both, for Dovecot runs every script that fits a move, and refuses to pipe a letter twice.
require ["vnd.dovecot.imapsieve", "environment", "variables", "vnd.dovecot.pipe", "copy"];

if environment :is "imap.mailbox" "Junk" {
    set "mark" "unwanted";
} elsif environment :is "imap.mailbox" ["Trash", "Strangers"] {
    # Thrown away or put back: that says nothing good.
    stop;
} elsif anyof(
    environment :is "imap.mailbox" "Wanted",
    environment :is "vnd.dovecot.mailbox-from" ["Strangers", "Junk"]
) {
    set "mark" "wanted";
} else {
    stop;
}
if environment :matches "imap.user" "*" {
    set "user" "${1}";
}
pipe :copy :try "farthing-mark" ["${mark}", "${user}"];
