-- Version 3: what local users sent, so that answers to it and bounces of it come in free; and lists. Memory on which
-- no money hangs; old rows go as new ones come.

-- Letters by authenticated submission, by author and Message-ID.
CREATE TABLE sent (
    author     BLOB    NOT NULL, -- without +detail
    message_id BLOB    NOT NULL CHECK (length(message_id) = 16),
    time       INTEGER NOT NULL,
    to_list    INTEGER NOT NULL CHECK (to_list IN (0, 1)),
    recipients BLOB    NOT NULL, -- addresses, one a line; those beyond the count that matters are left out
    PRIMARY KEY (author, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_time ON sent (time);

-- Letters let in as answers to them, or as bounces of them.
CREATE TABLE answered (
    author     BLOB    NOT NULL,
    message_id BLOB    NOT NULL,
    claim      BLOB    NOT NULL CHECK (length(claim) = 16), -- names recipient and letter: a retry brings the same
    time       INTEGER NOT NULL,
    PRIMARY KEY (author, message_id, claim)
) STRICT, WITHOUT ROWID;
CREATE INDEX answered_time ON answered (time);

-- Addresses that a List-Unsubscribe of delivered mail named: writing to them makes nobody known.
CREATE TABLE unsubscribe (
    recipient BLOB    NOT NULL, -- without +detail
    address   BLOB    NOT NULL,
    time      INTEGER NOT NULL,
    PRIMARY KEY (recipient, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX unsubscribe_time ON unsubscribe (time);

-- The list a letter really came from.
ALTER TABLE decisions ADD COLUMN list TEXT;
CREATE INDEX decisions_list ON decisions (time, number) WHERE number IS NOT NULL AND list IS NOT NULL;
