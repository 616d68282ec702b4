-- Says that a generation's writer lives.
-- KEYS: head, log. ARGV: 1 version, 2 nonce, 3 ms of lease.
local now = clock()
local head = load(KEYS[1], {'v', 'nonce', 'gone', 'expires', 'idle', 'keep', 'cancel', 'seen', 'furthest'})
local fate = fate(head, now)
if fate then return {fate} end
if head.nonce ~= ARGV[2] or head.v ~= ARGV[1] then return {'conflict'} end
redis.call('HSET', KEYS[1], 'lease', text(now + tonumber(ARGV[3])))
redis.call('HDEL', KEYS[1], 'doubted', 'looked')
touch(KEYS, head, now)
local seen = head.seen and math.max(0, tonumber(head.seen) - now) or 0
return {'ok', head.v, head.cancel and 1 or 0, seen, head.furthest or '0'}
