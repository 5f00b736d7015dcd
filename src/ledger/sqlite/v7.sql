-- Version 7: what recipients set for themselves, and the letters of strangers, by recipient.

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
