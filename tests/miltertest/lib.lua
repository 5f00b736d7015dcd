-- What every script begins with. `socket` is given by the runner; `fail` names what went wrong and where.
-- The gate agrees on leading spaces with the MTA, so the fields it adds bring their own.

function fail(what)
	mt.echo(debug.traceback(what, 2))
	error(what, 2)
end

-- A connection that has come as far as HELO, from Alice's server.
function connected()
	local conn = mt.connect(socket)
	if conn == nil then fail("no connection to " .. socket) end
	if mt.conninfo(conn, "mx.a.example", "192.0.2.1") ~= nil then fail("conninfo") end
	if mt.getreply(conn) ~= SMFIR_CONTINUE then fail("the connection was not taken") end
	if mt.helo(conn, "mx.a.example") ~= nil then fail("helo") end
	return conn
end

-- MAIL and RCPT: both are always taken, the letter decides.
function envelope(conn, queue_id)
	mt.macro(conn, SMFIC_MAIL, "i", queue_id)
	if mt.mailfrom(conn, "<alice@a.example>") ~= nil then fail("mail") end
	if mt.getreply(conn) ~= SMFIR_CONTINUE then fail("MAIL was not taken") end
	if mt.rcptto(conn, "<bob@b.example>") ~= nil then fail("rcpt") end
	if mt.getreply(conn) ~= SMFIR_CONTINUE then fail("RCPT was not taken") end
end

function header(conn, name, value)
	if mt.header(conn, name, value) ~= nil then fail("header " .. name) end
end

-- A letter's header with these further fields, as far as its end.
function letter(conn, subject, fields)
	header(conn, "From", "Alice <alice@a.example>")
	header(conn, "Subject", subject)
	header(conn, "Message-ID", "<" .. subject .. "@a.example>")
	for _, field in ipairs(fields or {}) do header(conn, field[1], field[2]) end
	if mt.eoh(conn) ~= nil then fail("end of header") end
end

-- The body and the end of the message.
function body(conn)
	if mt.getreply(conn) ~= SMFIR_CONTINUE then fail("refused at the end of the header") end
	mt.bodystring(conn, "Hello\r\n")
	if mt.eom(conn) ~= nil then fail("end of message") end
end

-- The letter was refused with this code and this text.
function refused(conn, text)
	if mt.getreply(conn) ~= SMFIR_REPLYCODE then fail("not refused") end
	if not mt.eom_check(conn, MT_SMTPREPLY, "550", "5.7.1", text) then fail("not refused in these words: " .. text) end
end

-- The letter was delivered.
function delivered(conn)
	local reply = mt.getreply(conn)
	if reply ~= SMFIR_CONTINUE and reply ~= SMFIR_ACCEPT then fail("not delivered: " .. reply) end
end
