-- Version 6: our own outgoing mail. Memory on which no money hangs; rows that are done go as new ones come.

-- Answers that wait until their address may get the next mail.
CREATE TABLE answer_parts (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: a mail is made of exactly these
    address     BLOB    NOT NULL,
    time        INTEGER NOT NULL,
    sender      BLOB    NOT NULL, -- the command address that was written to
    subject     TEXT    NOT NULL,
    in_reply_to TEXT,
    text        TEXT    NOT NULL,
    octets      INTEGER NOT NULL
) STRICT;
CREATE INDEX answer_parts_address ON answer_parts (address, octets);

-- From when on each of these addresses may get it, and how many answers were left out.
CREATE TABLE answer_due (
    address  BLOB    PRIMARY KEY,
    due      INTEGER NOT NULL,
    left_out INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX answer_due_due ON answer_due (due);

-- Finished mails. One that was taken or given up has lost its octets and stays a while for the limits.
CREATE TABLE outgoing (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT    NOT NULL UNIQUE,
    kind       TEXT    NOT NULL,
    address    BLOB    NOT NULL,
    queued     INTEGER NOT NULL,
    message    BLOB,
    octets     INTEGER NOT NULL,
    next_try   INTEGER, -- null: done
    tried      INTEGER, -- when it was last handed over, taken or not
    last_error TEXT,
    CHECK ((next_try IS NULL) = (message IS NULL))
) STRICT;
CREATE INDEX outgoing_next ON outgoing (kind, next_try, octets) WHERE next_try IS NOT NULL;
CREATE INDEX outgoing_done ON outgoing (tried) WHERE next_try IS NULL;
CREATE INDEX outgoing_address ON outgoing (address, kind, queued);
