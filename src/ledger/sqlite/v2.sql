-- Freepost addresses by owner and label (SPEC.md §9): what was made, what came through it, what is revoked.
-- An address that was made elsewhere with the site's key is good without a row; a revoked label never is again.
CREATE TABLE freepost (
    owner        BLOB    NOT NULL,
    label        TEXT    NOT NULL,
    made         INTEGER NOT NULL,
    expiry_day   INTEGER NOT NULL, -- days since 1970-01-01; 0: for ever
    revoked      INTEGER,          -- when
    letters      INTEGER NOT NULL DEFAULT 0,
    last_letter  INTEGER,
    first_author BLOB,
    PRIMARY KEY (owner, label)
) STRICT, WITHOUT ROWID;
