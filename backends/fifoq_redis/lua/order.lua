-- Whether `a` comes before `b`, by bytes. Lua's own comparison depends on the server's locale.
local function is_less(a, b)
  for index = 1, math.min(#a, #b) do
    local x, y = string.byte(a, index), string.byte(b, index)
    if x ~= y then return x < y end
  end
  return #a < #b
end
