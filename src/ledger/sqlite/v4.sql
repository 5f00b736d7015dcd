-- Version 4: why an entry stands in the book; and lists.

-- What whoever put it there by hand had to say.
ALTER TABLE book ADD COLUMN memo TEXT NOT NULL DEFAULT '';

-- The addresses at which lists take letters, as their own letters said: what is sent there cannot be answered
-- free by everybody who reads the list. Memory on which no money hangs; old rows go as new ones come.
CREATE TABLE list_address (
    recipient BLOB    NOT NULL, -- who gets the list's letters
    address   BLOB    NOT NULL,
    time      INTEGER NOT NULL,
    PRIMARY KEY (recipient, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX list_address_time ON list_address (time);
