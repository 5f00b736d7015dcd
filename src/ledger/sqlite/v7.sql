-- Version 7: what recipients set for themselves, the letters of strangers by recipient, and the end of postage: settled,
-- given back unused, and dropped from the books when nobody can ask for it any more.

-- A recipient's own settings; one without a row has none.
CREATE TABLE settings (
    owner        BLOB    PRIMARY KEY, -- without +detail
    price        INTEGER CHECK (price > 0),
    price_public INTEGER NOT NULL DEFAULT 0 CHECK (price_public IN (0, 1)),
    digest       TEXT    NOT NULL DEFAULT 'off' CHECK (digest IN ('off', 'daily', 'weekly')),
    digest_sent  INTEGER -- when the last one was made
) STRICT, WITHOUT ROWID;
CREATE INDEX settings_digest ON settings (owner) WHERE digest <> 'off';

-- Whose letter of a stranger it is: the recipient without +detail; NULL for all other letters. Led by the day, so
-- that a flood of refused letters fills the pages of one day only.
ALTER TABLE decisions ADD COLUMN reader BLOB;
CREATE INDEX decisions_stranger ON decisions (time / 86400, reader) WHERE reader IS NOT NULL;

-- What a sender paid, for marks by the sender's address; led by the day for the same reason.
CREATE INDEX redeemed_author ON redeemed (time / 86400, author) WHERE authenticated AND author IS NOT NULL;

-- The life of postage. Entries of kind `keep` and `burn` end many redemptions at once: all from `first` to `last` that
-- went into the account `escrow` and were not given back. One fact, `settled`, says up to which redemption that is
-- done: none is settled twice, and none that is settled goes back.
CREATE TABLE settled (
    entry  INTEGER PRIMARY KEY REFERENCES journal (seq),
    escrow INTEGER NOT NULL REFERENCES account (id),
    first  INTEGER NOT NULL, -- redeemed.seq
    last   INTEGER NOT NULL CHECK (last >= first),
    UNIQUE (escrow, first)
) STRICT;

-- Entries that end an order: what was left of it when its stamps had expired, once.
CREATE TABLE closed (
    entry     INTEGER PRIMARY KEY REFERENCES journal (seq),
    order_seq INTEGER NOT NULL UNIQUE -- the order may be dropped before its entry
) STRICT;

-- The newest redemption (or 0) when the order was ended; from then on none of its stamps pays.
ALTER TABLE orders ADD COLUMN closed INTEGER;
CREATE INDEX orders_open ON orders (audience, expiry) WHERE closed IS NULL;
CREATE INDEX orders_open_all ON orders (expiry) WHERE closed IS NULL;

-- What the rows that were dropped sum to: balance = carried + rows.
ALTER TABLE account ADD COLUMN carried INTEGER NOT NULL DEFAULT 0;

-- Where history was cut off: every batch up to `through` was dropped. Each cut stands in the audit chain, as a row of
-- the batch that made it; the newest one is where the proof begins.
CREATE TABLE cuts (
    batch    INTEGER PRIMARY KEY,
    through  INTEGER NOT NULL,
    head     BLOB    NOT NULL CHECK (length(head) = 32), -- of that batch
    entries  INTEGER NOT NULL, -- newest journal.seq that was dropped
    redeemed INTEGER NOT NULL, -- newest redeemed.seq that was dropped
    day      INTEGER NOT NULL, -- latest day of expiry of a stamp whose mark was dropped
    carried  BLOB    NOT NULL CHECK (length(carried) = 32) -- stands for account.carried of all accounts
) STRICT;
