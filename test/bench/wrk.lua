-- What wrk has seen, as one line of JSON; wrk's own report rounds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"seconds":%f,"requests":%d,"bytes":%d,"errors":%d,"p50":%f,"p99":%f}\n',
    summary.duration / 1e6, summary.requests, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
