-- Posts the lines of a file, one each, shared out over threads; every body is sent once.
local bodies, position = {}, 0
local counter = 0
function setup(thread) thread:set("id", counter); counter = counter + 1 end
function init(args)
  local threads = tonumber(args[2])
  local number = 0
  for line in io.lines(args[1]) do
    if number % threads == id then bodies[#bodies + 1] = line end
    number = number + 1
  end
  statuses = ""
  created, refused, other = 0, 0, 0
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end
function request()
  position = position + 1
  local body = bodies[position]
  if body == nil then wrk.thread:stop(); return "" end
  return wrk.format(nil, nil, nil, body)
end
