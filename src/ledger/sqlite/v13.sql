-- Version 13: what franking was found to lack.

-- What senders of letters want to hear of them (RFC 3461): RET and ENVID of the letter, NOTIFY and ORCPT of each recipient, as
-- they came; null where none was given.
ALTER TABLE franked_letter ADD COLUMN ret TEXT;
ALTER TABLE franked_letter ADD COLUMN envid TEXT;
ALTER TABLE franked_to ADD COLUMN notify TEXT;
ALTER TABLE franked_to ADD COLUMN orcpt TEXT;

-- Stamps that letters have asked for there, since its price rose or its offices changed: more than that are not kept ahead.
ALTER TABLE purse_wanted ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
-- Micros of stamps that were to be bought for letters which did not have them: they are not spent, but count for what may
-- be bought on behalf of the login.
ALTER TABLE franked ADD COLUMN unspent INTEGER NOT NULL DEFAULT 0;
