-- What a stream is, and its records from one place on.
-- KEYS: head, log.
-- ARGV: 1 commit that is known, 2 from, 3 most bytes (0: no records), 4 whether this is a read, 5 the furthest place that is
--       read here, or nothing, 6 ms that counts for, 7 ms after which a lapsed lease means a lost writer, 8 ms between two looks
--       that see it lapsed.
local now = clock()
local head = load(KEYS[1], {'v', 'commit', 'nonce', 'gone', 'expires', 'idle', 'keep', 'first', 'bytes', 'writer', 'lease', 'doubted',
  'looked', 'seen', 'furthest'})
local fate = fate(head, now)
if fate then return {fate} end
if ARGV[4] == '1' then touch(KEYS, head, now) end
if ARGV[5] ~= '' then
  local furthest = tonumber(ARGV[5])
  if head.seen and tonumber(head.seen) > now then furthest = math.max(furthest, tonumber(head.furthest or '0')) end
  redis.call('HSET', KEYS[1], 'seen', text(now + tonumber(ARGV[6])), 'furthest', text(furthest))
end
-- A lease lapses too while this server stands still. A writer that lives takes it up again soon after: only one that was seen
-- lapsed for a while, without a pause between the looks, is lost.
local lost = 0
if head.lease and tonumber(head.lease) <= now then
  local doubted = tonumber(head.doubted or '0')
  if doubted == 0 or now - tonumber(head.looked) > tonumber(ARGV[8]) then doubted = now end
  redis.call('HSET', KEYS[1], 'doubted', text(doubted), 'looked', text(now))
  if now - doubted >= tonumber(ARGV[7]) then lost = 1 end
end
local entries, size, from, most = {}, 0, tonumber(ARGV[2]) + 1, tonumber(ARGV[3])
while size < most do
  local some = redis.call('XRANGE', KEYS[2], text(from) .. '-0', '+', 'COUNT', 16)
  for _, entry in ipairs(some) do
    if size >= most then break end
    entries[#entries + 1] = entry
    from = tonumber(string.match(entry[1], '^(%d+)-')) + 1
    size = size + #(entry[2][8] or '') + 64
  end
  if #some < 16 then break end
end
-- Versions begin anew where a server has lost the stream and its writer puts it there again; the names of commits don't.
local known = head.commit == ARGV[1]
return {'ok', head.v, head.commit, known and '' or redis.call('HGET', KEYS[1], 'head'), head.nonce, head.first, head.bytes, head.writer, lost,
  entries}
