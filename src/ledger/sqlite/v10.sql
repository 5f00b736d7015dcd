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

-- Franking: stamps bought ahead for the letters of local users. They are other offices' stamps in our hand, so none of
-- this is money of these books.
CREATE TABLE purse (
    office    TEXT    NOT NULL,
    id        BLOB    NOT NULL CHECK (length(id) = 16),
    selector  TEXT    NOT NULL,
    audience  TEXT    NOT NULL,
    value     INTEGER NOT NULL CHECK (value > 0),
    expiry    INTEGER NOT NULL,
    signature BLOB    NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (office, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX purse_audience ON purse (audience, value, expiry);
CREATE INDEX purse_expiry ON purse (expiry);

-- Orders that were not answered yet. They are here before they are sent, so that money spent is never forgotten.
CREATE TABLE purse_orders (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: it names this order alone
    office   TEXT    NOT NULL,
    audience TEXT    NOT NULL,
    value    INTEGER NOT NULL,
    ids      BLOB    NOT NULL CHECK (length(ids) % 16 = 0),
    time     INTEGER NOT NULL
) STRICT;

-- Domains that are written to and ask for stamps: for these some are kept in hand.
CREATE TABLE purse_wanted (
    audience TEXT    PRIMARY KEY,
    price    INTEGER NOT NULL,
    last     INTEGER NOT NULL, -- when a letter last asked
    missing  INTEGER NOT NULL  -- stamps that the last letter lacked
) STRICT, WITHOUT ROWID;

-- What was put on letters, a UTC day and login; the empty login is everybody together.
CREATE TABLE franked (
    day   INTEGER NOT NULL,
    login TEXT    NOT NULL,
    spent INTEGER NOT NULL, -- micros
    over  INTEGER NOT NULL DEFAULT 0 CHECK (over IN (0, 1)), -- a letter was held back for it
    PRIMARY KEY (day, login)
) STRICT, WITHOUT ROWID;

-- What was spent on stamps, a UTC day; orders that were not answered yet come on top.
CREATE TABLE purse_bought (
    day   INTEGER PRIMARY KEY,
    spent INTEGER NOT NULL -- micros
) STRICT;
