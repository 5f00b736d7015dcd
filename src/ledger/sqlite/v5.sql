-- Version 5: where a letter wants its answers, so that one of them marks it. Addresses, one a line.
ALTER TABLE decisions ADD COLUMN reply_to BLOB;
