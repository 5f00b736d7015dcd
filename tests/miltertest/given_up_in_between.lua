-- A letter that the MTA gives up redeems nothing, at whatever stage; its stamp is still good afterwards.
dofile("lib.lua")

local conn = connected()
envelope(conn, "4GIVENUP1")
mt.abort(conn)

envelope(conn, "4GIVENUP2")
header(conn, "Postage-Stamp", stamp)
mt.abort(conn)

envelope(conn, "4GIVENUP3")
letter(conn, "given-up", { { "Postage-Stamp", stamp } })
if mt.getreply(conn) ~= SMFIR_CONTINUE then fail("refused at the end of the header") end
mt.bodystring(conn, "Hello\r\n")
mt.abort(conn)

-- A connection that just goes away.
local other = connected()
envelope(other, "4GONE")
letter(other, "gone", { { "Postage-Stamp", stamp } })
mt.disconnect(other, false)

envelope(conn, "4PAID")
letter(conn, "paid", { { "Postage-Stamp", stamp } })
body(conn)
delivered(conn)
if not mt.eom_check(conn, MT_HDRINSERT, "Postage-Status", " " .. status) then fail("not paid") end
mt.disconnect(conn)
