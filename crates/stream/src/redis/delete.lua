-- Forgets a stream. Of a generation's a grave remains, which says that it has been there.
-- KEYS: head, log, wake. ARGV: 1 nonce.
local head = load(KEYS[1], {'v', 'nonce', 'gone', 'expires', 'keep', 'writer'})
local fate = fate(head, clock())
if fate then return {fate} end
if head.nonce ~= ARGV[1] then return {'missing'} end
redis.call('DEL', KEYS[1], KEYS[2])
if tonumber(head.keep) > 0 then
  redis.call('HSET', KEYS[1], 'v', text(tonumber(head.v) + 1), 'gone', '1', 'nonce', head.nonce)
  redis.call('PEXPIRE', KEYS[1], head.keep)
end
redis.call('SPUBLISH', KEYS[3], '')
return {'ok', head.writer}
