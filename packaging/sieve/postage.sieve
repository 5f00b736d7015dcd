# Letters that strangers sent without postage go to the folder "Strangers" (it is made when the first one comes).
#
# For `mode = "tag"`. The word before the semicolon is `hostname` of farthing.toml: put yours in the place of
# mx.b.example. Farthing takes away every Postage-Status that comes with a letter, so what stands there is its own.
# A letter to several of you has one field for all, with the result of the greatest stranger: look into the folder,
# and do not discard.
#
# Pigeonhole: as `sieve_after` a user's own rules come first, and this one takes only what they leave in the inbox.
require ["fileinto", "mailbox"];

if header :matches "Postage-Status" [
    "mx.b.example; result=unpaid", "mx.b.example; result=unpaid;*",
    "mx.b.example; result=invalid", "mx.b.example; result=invalid;*"
] {
    fileinto :create "Strangers";
}
