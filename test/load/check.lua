-- For wrk: every answer must bear the address that the client has. Arguments: that address, and how many
-- milliseconds each connection rests before it is opened again: at full speed ports would run out.
-- Prints one line of JSON at the end. A body is "HOST CLIENT PORT".
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  own = args[1]
  rest = tonumber(args[2])
  wrong = 0
  by = ""
  counts = {}
end

function delay()
  return rest
end

function response(status, headers, body)
  local host, seen = body:match("^(%S+) (%S+) ")
  if status ~= 200 or seen ~= own then wrong = wrong + 1 end
  if host then counts[host] = (counts[host] or 0) + 1 end
  by = ""
  for name, count in pairs(counts) do by = by .. name .. "=" .. count .. " " end
end

function done(summary, latency, requests)
  local wrong, answers = 0, {}
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    for name, count in thread:get("by"):gmatch("(%S+)=(%d+)") do answers[name] = (answers[name] or 0) + tonumber(count) end
  end
  local list = {}
  for name, count in pairs(answers) do table.insert(list, string.format('"%s":%d', name, count)) end
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"wrongSource":%d,"answeredBy":{%s},"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d},"longestMs":%.1f}\n',
    summary.requests, wrong, table.concat(list, ","), e.connect, e.read, e.write, e.status, e.timeout, latency.max / 1000))
end
