-- The books, version 1. Amounts are micros, times are Unix seconds, days are UTC days since 1970-01-01.
-- Three kinds of tables:
--   rows that are never changed and stand in the audit chain: journal, orders (but for redeemed), sold, redeemed;
--   sums and heads of those, which `ledger check` recomputes: account.balance, orders.redeemed, heads;
--   memory on which no money hangs: worked, work_days, retried, unwanted, decisions, book.
-- What grows with the mail begins its key with a day, or is found by one, so that lookups touch few pages and
-- old days can be dropped a range at a time.
PRAGMA application_id = 1179800647; -- FRTG: so that no other program's file is taken for the books

-- Single facts: `currency`; `alive`, rewritten to prove that the file can be written; a restored copy notes here
-- from which batch on its stamps count.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    balance INTEGER NOT NULL DEFAULT 0,
    CHECK (balance >= 0 OR name = 'grants' OR name GLOB 'funding:*' OR name GLOB 'office:*')
) STRICT;

-- Post offices whose stamps came here, as small numbers: the key of every redemption holds one.
CREATE TABLE office (
    id   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE
) STRICT;

-- Every movement of money but redemptions. One row is one transfer, so an unbalanced one cannot be written.
CREATE TABLE journal (
    seq      INTEGER PRIMARY KEY,
    batch    INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    debit    INTEGER NOT NULL REFERENCES account (id),
    credit   INTEGER NOT NULL REFERENCES account (id),
    amount   INTEGER NOT NULL CHECK (amount > 0),
    memo     TEXT    NOT NULL,
    redeemed INTEGER, -- redeemed.seq that this row gives back; that row may be dropped before this one
    CHECK (debit <> credit),
    CHECK ((kind = 'refund') = (redeemed IS NOT NULL))
) STRICT;
CREATE INDEX journal_debit ON journal (debit);
CREATE INDEX journal_credit ON journal (credit);
-- A refund happens once, by key.
CREATE UNIQUE INDEX journal_refund ON journal (redeemed) WHERE redeemed IS NOT NULL;

-- What was bought with a journal row of kind 'sell'.
CREATE TABLE orders (
    seq      INTEGER PRIMARY KEY REFERENCES journal (seq),
    account  INTEGER NOT NULL REFERENCES account (id),
    audience TEXT    NOT NULL,
    value    INTEGER NOT NULL CHECK (value > 0),
    expiry   INTEGER NOT NULL,
    selector TEXT    NOT NULL,
    stamps   INTEGER NOT NULL CHECK (stamps BETWEEN 1 AND 1000),
    redeemed INTEGER NOT NULL DEFAULT 0 CHECK (redeemed BETWEEN 0 AND stamps)
) STRICT;
CREATE INDEX orders_account ON orders (account, expiry);

-- Each stamp our office sold. No id twice, whatever its expiry.
CREATE TABLE sold (
    id        BLOB    PRIMARY KEY CHECK (length(id) = 16),
    order_seq INTEGER NOT NULL REFERENCES orders (seq),
    holder    BLOB    NOT NULL CHECK (length(holder) = 32),
    signature BLOB    NOT NULL CHECK (length(signature) = 64)
) STRICT, WITHOUT ROWID;
CREATE INDEX sold_order ON sold (order_seq);

-- Each redemption: the spent mark, the transfer and the claim of the letter in one row. Rows stand in the order
-- of their commits, which keeps appending cheap and lets the audit chain be read in one go; the narrow unique
-- index is what makes a stamp redeemable once.
CREATE TABLE redeemed (
    seq           INTEGER PRIMARY KEY,
    batch         INTEGER NOT NULL,
    time          INTEGER NOT NULL,
    day           INTEGER NOT NULL, -- of the stamp's expiry
    office        INTEGER NOT NULL REFERENCES office (id),
    id            BLOB    NOT NULL CHECK (length(id) = 16),
    debit         INTEGER NOT NULL REFERENCES account (id),
    credit        INTEGER NOT NULL REFERENCES account (id),
    amount        INTEGER NOT NULL CHECK (amount > 0),
    order_seq     INTEGER,          -- orders.seq for a stamp of our own office
    number        INTEGER NOT NULL CHECK (number <> 0),
    claim         BLOB    NOT NULL CHECK (length(claim) = 16), -- names stamp, recipient and letter: a retry brings the same
    recipient     BLOB    NOT NULL,
    author        BLOB,
    authenticated INTEGER NOT NULL CHECK (authenticated IN (0, 1)),
    CHECK (debit <> credit)
) STRICT;
CREATE UNIQUE INDEX redeemed_once ON redeemed (day, office, id);
-- Numbers are random; led by the day of the redemption, only one day's pages are hot.
CREATE UNIQUE INDEX redeemed_number ON redeemed (time / 86400, number);

-- The head of each batch that wrote into the tables above.
CREATE TABLE heads (
    batch INTEGER PRIMARY KEY,
    time  INTEGER NOT NULL,
    rows  INTEGER NOT NULL CHECK (rows > 0),
    root  BLOB    NOT NULL CHECK (length(root) = 32),
    head  BLOB    NOT NULL CHECK (length(head) = 32)
) STRICT;

-- Hashcash stamps that let a letter in.
CREATE TABLE worked (
    day   INTEGER NOT NULL, -- after which the stamp cannot be valid
    id    BLOB    NOT NULL CHECK (length(id) = 16),
    time  INTEGER NOT NULL,
    claim BLOB    NOT NULL CHECK (length(claim) = 16),
    PRIMARY KEY (day, id)
) STRICT, WITHOUT ROWID;

-- Letters let in by work for a recipient, a day.
CREATE TABLE work_days (
    day       INTEGER NOT NULL,
    recipient BLOB    NOT NULL, -- without +detail
    letters   INTEGER NOT NULL,
    PRIMARY KEY (day, recipient)
) STRICT, WITHOUT ROWID;

-- Retries let in free, a day and claim.
CREATE TABLE retried (
    day   INTEGER NOT NULL,
    claim BLOB    NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (day, claim)
) STRICT, WITHOUT ROWID;

-- Redemptions marked unwanted and not wanted since.
CREATE TABLE unwanted (
    redeemed INTEGER PRIMARY KEY,
    time     INTEGER NOT NULL
) STRICT;

-- Letters decided: for marks by Message-ID and for the report.
CREATE TABLE decisions (
    seq           INTEGER PRIMARY KEY,
    time          INTEGER NOT NULL,
    recipient     BLOB    NOT NULL,
    author        BLOB,
    authenticated INTEGER NOT NULL,
    message_id    BLOB,
    result        TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    delivered     INTEGER NOT NULL,
    number        INTEGER
) STRICT;
-- Only what can be marked: a flood of refused letters costs no page here.
CREATE INDEX decisions_message ON decisions (time / 86400, message_id) WHERE delivered AND message_id IS NOT NULL;

-- Who is known to whom; the site's own book has the empty recipient.
CREATE TABLE book (
    recipient BLOB    NOT NULL, -- without +detail
    sender    BLOB    NOT NULL,
    block     INTEGER NOT NULL CHECK (block IN (0, 1)),
    how       TEXT    NOT NULL,
    since     INTEGER NOT NULL,
    PRIMARY KEY (recipient, sender)
) STRICT, WITHOUT ROWID;
