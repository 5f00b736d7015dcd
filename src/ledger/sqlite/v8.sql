-- Version 8: how money comes in. The movements themselves stand in the journal; what is here makes each happen once,
-- by key.

-- What was issued; a row never changes. The code is not here, only its hash.
CREATE TABLE voucher (
    number INTEGER PRIMARY KEY,
    code   BLOB    NOT NULL UNIQUE CHECK (length(code) = 32),
    value  INTEGER NOT NULL CHECK (value > 0),
    issued INTEGER NOT NULL,
    expiry INTEGER,          -- the last second at which it is good; NULL: for ever
    memo   TEXT    NOT NULL  -- the admin's own
) STRICT;

-- How a voucher ended, once: used by an account, or made void.
CREATE TABLE voucher_end (
    number  INTEGER PRIMARY KEY REFERENCES voucher (number),
    time    INTEGER NOT NULL,
    account BLOB CHECK (length(account) = 32) -- who has the money; NULL: void
) STRICT;

-- Starter grants, one a UTC day and account, one a proof. Kept until their proofs can no longer be valid.
CREATE TABLE granted (
    day     INTEGER NOT NULL,
    account BLOB    NOT NULL CHECK (length(account) = 32),
    proof   BLOB    NOT NULL UNIQUE CHECK (length(proof) = 16),
    amount  INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (day, account)
) STRICT, WITHOUT ROWID;

-- What a day's grants sum to.
CREATE TABLE grant_days (
    day   INTEGER PRIMARY KEY,
    given INTEGER NOT NULL CHECK (given > 0)
) STRICT;

-- Payments that providers told of: each piece of news once, and each thing paid for once.
CREATE TABLE payment (
    provider  TEXT    NOT NULL,
    event     TEXT    NOT NULL,
    reference TEXT    NOT NULL,
    time      INTEGER NOT NULL,
    PRIMARY KEY (provider, event),
    UNIQUE (provider, reference)
) STRICT, WITHOUT ROWID;
