//! Postage for e-mail.
