-- Changes a stream that is still as it was known, in one step: its head and its records.
-- KEYS: head, log, wake.
-- ARGV: 1 expected version (0: none there), 2 commit, 3 head, 4 nonce, 5 writer, 6 lifetime, 7 its ms, 8 ms a grave is kept,
--       9 first record kept, 10 bytes held, 11 ms of lease (0: nobody needs one), then id, first, ends, bytes per entry.
local now = clock()
local head = load(KEYS[1], {'v', 'commit', 'nonce', 'gone', 'expires', 'cancel', 'seen', 'furthest'})
local expected = tonumber(ARGV[1])
local fate = fate(head, now)
-- An answer that was lost is given again; nothing is done twice.
local again = not fate and head.commit == ARGV[2] and head.nonce == ARGV[4]
if not again then
  if expected == 0 then
    if not fate then return {'exists'} end
    redis.call('DEL', KEYS[1], KEYS[2])
    head = {}
  else
    if fate then return {fate} end
    if head.nonce ~= ARGV[4] or tonumber(head.v) ~= expected then return {'conflict'} end
  end
  for i = 12, #ARGV, 4 do
    redis.call('XADD', KEYS[2], ARGV[i] .. '-0', 'n', ARGV[4], 'f', ARGV[i + 1], 'e', ARGV[i + 2], 'b', ARGV[i + 3])
  end
  if tonumber(ARGV[9]) > 0 then redis.call('XTRIM', KEYS[2], 'MINID', text(tonumber(ARGV[9]) + 1) .. '-0') end
  redis.call('HSET', KEYS[1], 'v', text(expected + 1), 'commit', ARGV[2], 'head', ARGV[3], 'nonce', ARGV[4],
    'writer', ARGV[5], 'keep', ARGV[8], 'first', ARGV[9], 'bytes', ARGV[10])
  if ARGV[11] == '0' then redis.call('HDEL', KEYS[1], 'lease')
  else redis.call('HSET', KEYS[1], 'lease', text(now + tonumber(ARGV[11]))) end
  redis.call('HDEL', KEYS[1], 'doubted', 'looked')
  if ARGV[6] == 'unlimited' then
    redis.call('HDEL', KEYS[1], 'expires', 'idle')
    redis.call('PERSIST', KEYS[1])
    redis.call('PERSIST', KEYS[2])
  elseif ARGV[6] == 'idle' then
    redis.call('HSET', KEYS[1], 'idle', ARGV[7])
    touch(KEYS, {idle = ARGV[7], keep = ARGV[8]}, now)
  else
    redis.call('HDEL', KEYS[1], 'idle')
    redis.call('HSET', KEYS[1], 'expires', ARGV[7])
    redis.call('PEXPIREAT', KEYS[1], text(tonumber(ARGV[7]) + tonumber(ARGV[8])))
    redis.call('PEXPIREAT', KEYS[2], ARGV[7])
  end
  redis.call('SPUBLISH', KEYS[3], '')
end
local seen = head.seen and math.max(0, tonumber(head.seen) - now) or 0
return {'ok', text(expected + 1), head.cancel and 1 or 0, seen, head.furthest or '0'}
