-- Posts the lines of a file. With "once", every body is sent once and the run ends early when none is left.
local bodies, position, once = {}, 0, false
function init(args)
  once = args[2] == "once"
  if once then
    for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
  else
    local file = io.open(args[1], "rb")
    bodies[1] = file:read("*a")
    file:close()
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[3]
end
function request()
  if once then
    position = position + 1
    if bodies[position] == nil then wrk.thread:stop(); position = #bodies end
    return wrk.format(nil, nil, nil, bodies[position])
  end
  return wrk.format(nil, nil, nil, bodies[1])
end
