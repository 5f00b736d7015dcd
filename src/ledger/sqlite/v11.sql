-- Version 11: letters of local users that were franked lately, and what of them goes as copies of their own; logins that
-- pay for their stamps from accounts of their own (`login:<login>` among the accounts).

-- A letter that got stamps. Its message is kept, in parts, as long as a copy of it has to go.
CREATE TABLE franked_letter (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: parts belong to this letter alone
    key    BLOB    CHECK (length(key) = 16),  -- the same letter has the same; NULL: its message is being written
    login  TEXT    NOT NULL,
    sender BLOB    NOT NULL, -- the envelope's
    author BLOB    NOT NULL,
    time   INTEGER NOT NULL,
    octets INTEGER NOT NULL  -- of its message; 0: none is kept
) STRICT;
CREATE INDEX franked_letter_key ON franked_letter (key) WHERE key IS NOT NULL;
CREATE INDEX franked_letter_time ON franked_letter (time);
CREATE INDEX franked_letter_octets ON franked_letter (octets) WHERE octets > 0;

CREATE TABLE franked_part (
    letter INTEGER NOT NULL REFERENCES franked_letter (seq),
    part   INTEGER NOT NULL,
    octets BLOB    NOT NULL,
    PRIMARY KEY (letter, part)
) STRICT;

-- What each of its recipients who want stamps got.
CREATE TABLE franked_to (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    letter     INTEGER NOT NULL REFERENCES franked_letter (seq),
    recipient  BLOB    NOT NULL,
    envelope   BLOB    NOT NULL, -- the same, as the envelope had it
    audience   TEXT    NOT NULL,
    charged    INTEGER NOT NULL, -- micros counted for it: the stamp's value, or the price while it is waited for
    by_login   INTEGER NOT NULL CHECK (by_login IN (0, 1)), -- the login's own account paid
    apart      INTEGER NOT NULL CHECK (apart IN (0, 1)), -- on a copy of its own
    waits      INTEGER NOT NULL CHECK (waits IN (0, 1)), -- for a stamp, until next_try; from then on it goes without
    office     TEXT,    -- the stamp, if there is one
    id         BLOB    CHECK (length(id) = 16),
    selector   TEXT,
    value      INTEGER,
    expiry     INTEGER,
    signature  BLOB    CHECK (length(signature) = 64),
    next_try   INTEGER, -- null: nothing is left to do
    tried      INTEGER, -- when the copy was last handed over, taken or not
    last_error TEXT,
    UNIQUE (letter, recipient),
    CHECK (NOT waits OR (apart AND next_try IS NOT NULL AND id IS NULL))
) STRICT;
CREATE INDEX franked_to_next ON franked_to (next_try) WHERE next_try IS NOT NULL;
CREATE INDEX franked_to_waits ON franked_to (audience, seq) WHERE waits;
CREATE INDEX franked_to_open ON franked_to (letter) WHERE next_try IS NOT NULL;

-- Stamps that logins paid for themselves: what comes back of them at their office is theirs again.
CREATE TABLE franked_charge (
    office  TEXT    NOT NULL,
    id      BLOB    NOT NULL CHECK (length(id) = 16),
    login   TEXT    NOT NULL,
    charged INTEGER NOT NULL CHECK (charged > 0),
    ends    INTEGER NOT NULL, -- when it cannot come back any more
    asked   INTEGER NOT NULL, -- when the office was last asked for it
    PRIMARY KEY (office, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX franked_charge_asked ON franked_charge (asked);
CREATE INDEX franked_charge_ends ON franked_charge (ends);
