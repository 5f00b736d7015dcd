-- A stamped letter is delivered; the stamp and what was forged are gone, our fields stand on top.
dofile("lib.lua")

local conn = connected()
envelope(conn, "4PAID")
letter(conn, "paid", { { "Postage-Status", "mx.b.example; result=known" }, { "Postage-Stamp", stamp } })
body(conn)
delivered(conn)
if not mt.eom_check(conn, MT_HDRDELETE, "Postage-Stamp") then fail("the stamp is still there") end
if not mt.eom_check(conn, MT_HDRDELETE, "Postage-Status") then fail("the forged status is still there") end
if not mt.eom_check(conn, MT_HDRINSERT, "Postage-Status", " " .. status) then fail("no status: " .. tostring(mt.getheader(conn, "Postage-Status", 0))) end
for _, name in ipairs({ "Postage-Wanted", "Postage-Unwanted" }) do
	if not mt.eom_check(conn, MT_HDRINSERT, name) then fail("no " .. name) end
end
if mt.eom_check(conn, MT_HDRADD) then fail("a field was added at the end, not on top") end
if mt.eom_check(conn, MT_BODYCHANGE) then fail("the body was touched") end
if mt.eom_check(conn, MT_RCPTDELETE, "<bob@b.example>") then fail("the recipient was taken away") end
if mt.eom_check(conn, MT_QUARANTINE) then fail("held") end
mt.disconnect(conn)
