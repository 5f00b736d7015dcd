-- Version 10: other post offices. Their stamps are redeemed here on their word, which the account `office:<domain>` counts;
-- what is given back of them is reported to them; and stamps of ours that were redeemed elsewhere come back likewise.

-- Each redeemed stamp of another office, as it stood on the letter: what that office is shown when the postage goes back.
-- Rows without `refunded` go when their redemption is settled, the others when they were reported.
CREATE TABLE foreign_stamp (
    redeemed INTEGER PRIMARY KEY, -- redeemed.seq; that row may be dropped before this one
    office   INTEGER NOT NULL REFERENCES office (id),
    audience TEXT    NOT NULL,
    id       BLOB    NOT NULL CHECK (length(id) = 16),
    field    TEXT    NOT NULL, -- the value of its Postage-Stamp field
    refunded INTEGER           -- when the postage went back; from then on it is to be reported
) STRICT;
CREATE INDEX foreign_stamp_refunded ON foreign_stamp (office, audience, redeemed) WHERE refunded IS NOT NULL;

-- When refunds to an office are reported again, after it did not take them.
CREATE TABLE reporting (
    office   INTEGER NOT NULL REFERENCES office (id),
    audience TEXT    NOT NULL,
    tries    INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    trouble  TEXT    NOT NULL, -- in words
    PRIMARY KEY (office, audience)
) STRICT, WITHOUT ROWID;

-- Stamps of ours for foreign domains that those have given back, once each, by an entry of kind `settlement`.
CREATE TABLE reported (
    entry     INTEGER PRIMARY KEY REFERENCES journal (seq),
    order_seq INTEGER NOT NULL, -- goes before its entry or with it
    id        BLOB    NOT NULL UNIQUE CHECK (length(id) = 16)
) STRICT;
