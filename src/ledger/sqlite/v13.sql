-- Version 13: what senders of franked letters want to hear of them (RFC 3461): RET and ENVID of the letter, NOTIFY and ORCPT
-- of each recipient, as they came; null where none was given.
ALTER TABLE franked_letter ADD COLUMN ret TEXT;
ALTER TABLE franked_letter ADD COLUMN envid TEXT;
ALTER TABLE franked_to ADD COLUMN notify TEXT;
ALTER TABLE franked_to ADD COLUMN orcpt TEXT;
