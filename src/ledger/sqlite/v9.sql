-- Version 9: passes made on the page of a refusal. Memory on which no money hangs: a bought pass is a stamp that
-- stands in sold, and what it pays for in redeemed; a worked one is used up in worked.

CREATE TABLE pass (
    author    BLOB    NOT NULL,
    recipient BLOB    NOT NULL, -- with +detail, as the letter's envelope names it
    id        BLOB    NOT NULL CHECK (length(id) = 16), -- of the stamp, or of the solved challenge
    made      INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    stamp     BLOB,             -- the field's value; NULL: worked for
    PRIMARY KEY (author, recipient, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX pass_expires ON pass (expires);

-- Passes worked for, a day and reader.
CREATE TABLE pass_days (
    day       INTEGER NOT NULL,
    recipient BLOB    NOT NULL, -- the owner
    passes    INTEGER NOT NULL,
    PRIMARY KEY (day, recipient)
) STRICT, WITHOUT ROWID;
