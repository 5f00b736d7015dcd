-- A stranger's letter without a stamp is refused before its body is asked for.
dofile("lib.lua")

local conn = connected()
envelope(conn, "4STRANGER")
letter(conn, "stranger")
if mt.getreply(conn) ~= SMFIR_REPLYCODE then fail("not refused at the end of the header") end
mt.abort(conn)

-- A bad stamp has its word in the text; miltertest sees the words of a reply only at the end of a message.
envelope(conn, "4AGAIN")
letter(conn, "again", { { "Postage-Stamp", "v=1; nonsense" } })
if mt.getreply(conn) ~= SMFIR_REPLYCODE then fail("a malformed stamp let it in") end
mt.disconnect(conn)
