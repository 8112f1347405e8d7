-- Has wrk ask for the requests of a plan, one after the other, for ever; started by wrk.py.
-- A plan has one request a line: path, then header names and values, with tabs in between.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  requests = {}
  for line in io.lines(args[1]) do
    local parts = {}
    for part in string.gmatch(line, "[^\t]+") do parts[#parts + 1] = part end
    local headers = {}
    for at = 2, #parts, 2 do headers[parts[at]] = parts[at + 1] end
    requests[#requests + 1] = wrk.format("GET", parts[1], headers)
  end
  -- threads begin at different places, else all would ask for the same at once
  turn = math.floor(number * #requests / tonumber(args[2]))
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"bytes":%d,"p50":%.6f,"p99":%.6f,"p999":%.6f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, latency:percentile(99.9) / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
