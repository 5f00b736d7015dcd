-- In mode hold, what lacks postage is quarantined and then taken.
dofile("lib.lua")

local conn = connected()
envelope(conn, "4HELD")
letter(conn, "held")
body(conn)
delivered(conn)
if not mt.eom_check(conn, MT_QUARANTINE, "postage: unpaid <bob@b.example>") then fail("not held, or for another reason") end
if not mt.eom_check(conn, MT_HDRINSERT, "Postage-Status", " mx.b.example; result=unpaid; rcpt=bob@b.example") then fail("no status") end
mt.disconnect(conn)
