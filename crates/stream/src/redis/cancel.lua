-- Tells the writer of a generation to end it.
-- KEYS: head. ARGV: 1 nonce.
local head = load(KEYS[1], {'v', 'nonce', 'gone', 'expires', 'lease', 'writer'})
local fate = fate(head, clock())
if fate then return {fate} end
if head.nonce ~= ARGV[1] or not head.lease then return {'ok', ''} end
redis.call('HSET', KEYS[1], 'cancel', '1')
return {'ok', head.writer}
