-- Reads entries of a log at random: arguments are the path before the index, and how many entries there are.

function init(arguments)
    math.randomseed(os.time())
    path = arguments[1]
    size = tonumber(arguments[2])
end

function request()
    return wrk.format("GET", path .. string.format("%d", math.random(0, size - 1)))
end
