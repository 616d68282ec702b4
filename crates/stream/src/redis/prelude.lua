-- What every script begins with. Time is this server's alone: no replica's clock counts.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function text(number) return string.format('%.0f', number) end

-- What became of the stream of that key: nil while it is there.
local function fate(head, now)
  if head.v == false then return 'missing' end
  if head.gone then return 'deleted' end
  if head.expires and tonumber(head.expires) <= now then return 'expired' end
  return nil
end
local function load(key, fields)
  local values = redis.call('HMGET', key, unpack(fields))
  local head = {}
  for i, field in ipairs(fields) do head[field] = values[i] end
  return head
end
-- A lifetime of idleness begins anew.
local function touch(keys, head, now)
  if not head.idle then return end
  local expires = now + tonumber(head.idle)
  redis.call('HSET', keys[1], 'expires', text(expires))
  redis.call('PEXPIREAT', keys[1], text(expires + tonumber(head.keep or '0')))
  redis.call('PEXPIREAT', keys[2], text(expires))
end
