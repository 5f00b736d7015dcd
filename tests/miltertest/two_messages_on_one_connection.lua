-- What belongs to one message is gone with it, whichever way it ended.
dofile("lib.lua")

local conn = connected()
envelope(conn, "4FIRST")
letter(conn, "first", { { "Postage-Stamp", stamp } })
body(conn)
delivered(conn)
if not mt.eom_check(conn, MT_HDRINSERT, "Postage-Status", " " .. status) then fail("not paid") end

-- The same connection, no stamp: refused at the end of the header.
envelope(conn, "4SECOND")
letter(conn, "second")
if mt.getreply(conn) ~= SMFIR_REPLYCODE then fail("the stamp of the letter before let it in") end

-- And the first letter again: a retry, at no charge.
envelope(conn, "4THIRD")
letter(conn, "first", { { "Postage-Stamp", stamp } })
body(conn)
delivered(conn)
if not mt.eom_check(conn, MT_HDRINSERT, "Postage-Status", " " .. status) then fail("a retry is not paid") end

-- The stamp on another letter is refused at its end, in words that name what is wrong.
envelope(conn, "4FOURTH")
letter(conn, "fourth", { { "Postage-Stamp", stamp } })
body(conn)
refused(conn, spent)
mt.disconnect(conn)
