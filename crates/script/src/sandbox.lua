-- What stands between a script and the Lua state it runs in: which names it finds, what it may not change, how errors
-- reach it, and how its outermost call is made. Runs once per state, before any script, with the functions of the
-- engine as its argument; returns the functions the engine calls.
--
-- A table a script must not change is given to it as an empty stand-in whose metatable looks into the real one. The
-- real ones never reach a script: `pairs`, `next`, `rawget` and `getmetatable` see through stand-ins on its behalf.
local native, kind, insecure = ...

local error, next, pcall, rawget, rawset, select, setmetatable, getmetatable, tonumber, tostring, type, xpcall =
    error, next, pcall, rawget, rawset, select, setmetatable, getmetatable, tonumber, tostring, type, xpcall
local loadstring, load, setfenv, getfenv, newproxy, unpack = loadstring, load, setfenv, getfenv, newproxy, unpack
local READONLY = "Attempt to modify a readonly table"
local NONEXISTENT = "Script attempted to access nonexistent global variable '"

-- Stand-in to what it stands for.
local real_of = setmetatable({}, { __mode = "k" })

local function refuse_change()
    error(READONLY, 2)
end

local function nonexistent(_, name)
    error(NONEXISTENT .. tostring(name) .. "'", 2)
end

local function stand_in(real)
    local shown = setmetatable({}, { __newindex = refuse_change })
    real_of[shown] = {}
    local metatable = { __index = real, __newindex = refuse_change, __metatable = shown }
    local guarded = setmetatable({}, metatable)
    real_of[guarded] = real
    return guarded, metatable
end

-- Errors of the engine's functions arrive as values, so that they can be raised as Lua's own would be, with the place
-- of the call in front.
local function checked(ok, ...)
    if ok then
        return ...
    end
    error((...), 3)
end

local function raising(f)
    return function(...)
        return checked(f(...))
    end
end

local function module(functions, constants)
    local out = {}
    for name, f in next, functions do
        out[name] = raising(f)
    end
    for name, value in next, constants or {} do
        out[name] = value
    end
    return out
end

---------------------------------------------------------------------------------------------------------------------
-- The interface to the server

local call, loading = native.call, nil

local function fail(text)
    native.note_failure(text)
    error({ err = "ERR " .. text }, 0)
end

-- Errors of the engine's functions are opaque; scripts get tables.
local function as_table(err)
    if type(err) ~= "userdata" then
        return err
    end
    return { err = native.describe(err), ignore_error_stats_update = false }
end

local api = { call = call }

function api.pcall(...)
    local ok, reply = pcall(call, ...)
    if ok then
        return reply
    end
    if native.is_stopped() then
        error("stopped", 0)
    end
    return as_table(reply)
end

function api.log(...)
    local level = ...
    if select("#", ...) < 2 then
        fail("redis.log() requires two arguments or more.")
    elseif not tonumber(level) then
        fail("First argument must be a number (log level).")
    end
    level = tonumber(level)
    if level < 0 or level > 3 then
        fail("Invalid log level.")
    end
    local parts = {}
    for at = 2, select("#", ...) do
        local part = (select(at, ...))
        if type(part) == "string" or type(part) == "number" then
            parts[#parts + 1] = part
        end
    end
    native.log(level, table.concat(parts, " "))
end

function api.setresp(...)
    if select("#", ...) ~= 1 then
        fail("redis.setresp() requires one argument.")
    end
    local version = tonumber((...))
    if version ~= 2 and version ~= 3 then
        fail("RESP version must be 2 or 3.")
    end
    native.setresp(version)
end

function api.sha1hex(...)
    if select("#", ...) ~= 1 then
        fail("wrong number of arguments")
    end
    local text = ...
    return native.sha1hex((type(text) == "string" or type(text) == "number") and tostring(text) or "")
end

local function single_field(field, ...)
    local text = ...
    if select("#", ...) ~= 1 or type(text) ~= "string" then
        native.note_failure("wrong number or type of arguments")
        return { err = "ERR wrong number or type of arguments" }
    end
    return { [field] = text }
end

function api.error_reply(...)
    local reply = single_field("err", ...)
    local text = reply.err
    if text:sub(1, 1) == "-" then
        text = text:sub(2)
    end
    native.note_failure("-" .. text)
    text = text:gsub("^[\r\n]+", ""):gsub("[\r\n]+$", "")
    if text == "" then
        text = "ERR"
    elseif not text:find(" ", 1, true) then
        text = "ERR " .. text
    end
    reply.err = text
    return reply
end

function api.status_reply(...)
    return single_field("ok", ...)
end

function api.set_repl(...)
    if select("#", ...) ~= 1 then
        fail("redis.set_repl() requires one argument.")
    end
    local flags = tonumber((...)) or 0
    if flags < 0 or flags > 3 then
        fail("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
    end
end

function api.acl_check_cmd(...)
    if select("#", ...) == 0 then
        fail("Please specify at least one argument for this redis lib call")
    end
    local permitted = native.permitted(...)
    if permitted == nil then
        fail("Invalid command passed to redis.acl_check_cmd()")
    end
    return permitted
end

local constants = {
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
    REDIS_VERSION = native.version, REDIS_VERSION_NUM = native.version_number,
    SERVER_NAME = native.server_name,
}
for name, value in next, constants do
    api[name] = value
end

---------------------------------------------------------------------------------------------------------------------
-- The standard library as scripts find it

local function copy(names, from)
    local out = {}
    for name in names:gmatch("%S+") do
        out[name] = from[name]
    end
    return out
end

-- Matching takes the processor's stack in proportion to the pattern, which Lua 5.1 does not bound.
local PATTERN_BYTES_MAX = 4096
local find = string.find
for _, name in next, { "find", "gmatch", "gsub", "match" } do
    local plain = string[name]
    string[name] = function(text, pattern, ...)
        if type(pattern) == "string" and #pattern > PATTERN_BYTES_MAX then
            local is_literal = name == "find" and (select(2, ...) or not find(pattern, "[%^%$%*%+%?%.%(%[%%%-]"))
            if not is_literal then
                error("pattern too complex", 2)
            end
        end
        return plain(text, pattern, ...)
    end
end
string.gfind = nil

local base = copy(
    "assert collectgarbage coroutine error gcinfo ipairs load loadstring math next os pairs pcall rawequal rawget "
        .. "rawset select setmetatable getmetatable string table tonumber tostring type unpack xpcall _VERSION",
    _G
)
base.os = { clock = os.clock }
base.math = copy(
    "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi pow rad "
        .. "sin sinh sqrt tan tanh",
    math
)
base.math.random = raising(native.random)
base.math.randomseed = raising(native.randomseed)
base.bit = module(native.bit)
base.struct = module(native.struct)
base.cjson = module(native.cjson.functions, native.cjson.constants)
base.cmsgpack = module(native.cmsgpack.functions, native.cmsgpack.constants)
if insecure then
    base.setfenv, base.getfenv, base.newproxy = setfenv, getfenv, newproxy
end

-- An error that is a table of the server's becomes its text, as scripts have known it since before there were tables.
local function as_text(err)
    err = as_table(err)
    if type(err) == "table" then
        local text = err.err
        if type(text) == "string" or type(text) == "number" then
            return text
        end
    end
    return err
end

local function finish(ok, ...)
    if ok then
        return true, ...
    end
    if native.is_stopped() then
        error("stopped", 0)
    end
    return false, as_text((...))
end

function base.pcall(...)
    return finish(pcall(...))
end

local function finish_xpcall(ok, ...)
    if not ok and native.is_stopped() then
        error("stopped", 0)
    end
    return ok, ...
end

-- A handler runs where the error was raised, and nothing interrupts it there: none runs once the script is to stop, nor of
-- an error that a debugger raised.
function base.xpcall(f, handler)
    return finish_xpcall(xpcall(f, function(err)
        if native.is_stopped() or native.is_raised() then
            return err
        end
        return handler(as_table(err))
    end))
end

function base.next(of, key)
    return next(real_of[of] or of, key)
end

function base.pairs(of)
    if type(of) ~= "table" then
        error("bad argument #1 to 'pairs' (table expected, got " .. type(of) .. ")", 2)
    end
    local real = real_of[of]
    if not real then
        return next, of, nil
    end
    return function(_, key)
        return next(real, key)
    end, of, nil
end

function base.rawget(of, key)
    return rawget(real_of[of] or of, key)
end

function base.rawset(of, key, value)
    if real_of[of] then
        error(READONLY, 2)
    end
    return rawset(of, key, value)
end

function base.setmetatable(of, ...)
    if real_of[of] then
        error(READONLY, 2)
    end
    return setmetatable(of, ...)
end

-- Lua 5.1 counts the results in an `int` that overflows.
local UNPACK_COUNT_MAX = 8000
function base.unpack(list, first, last)
    first = first == nil and 1 or tonumber(first) or 0
    last = last == nil and #list or tonumber(last) or 0
    if first > last then
        return
    end
    if not (last - first < UNPACK_COUNT_MAX and first >= -2147483648 and last < 2147483647) then
        error("too many results to unpack", 2)
    end
    -- Its arguments count as well, where Lua bounds the stack.
    if first == 1 and last == #list then
        return unpack(list)
    end
    return unpack(list, first, last)
end

-- The compiler of Lua 5.1 does not hold on to a chunk's name while it reads the chunk. The name must be a string that
-- is held elsewhere, with no zero byte in it, for it is looked up by what comes before one.
native.chunk_names = { "@user_script", "@user_function", "@ldb_eval" }
local function chunk_name(name, default)
    if type(name) ~= "string" then
        name = default
    end
    return (name:gsub("%z.*", ""))
end

-- Compiled code is not checked before it runs, so that only text is loaded.
function base.loadstring(text, name)
    if type(text) == "string" and text:byte(1) == 27 then
        return nil, "compiled code is not loaded"
    end
    local held = chunk_name(name, type(text) == "string" and text or "=(load)")
    return loadstring(text, held)
end

function base.load(pieces, name)
    local started, binary
    local function piece()
        local text = pieces()
        if not started and type(text) == "string" and text ~= "" then
            started = true
            binary = text:byte(1) == 27
        end
        if not binary then
            return text
        end
    end
    local chunk, problem = load(piece, chunk_name(name, "=(load)"))
    if binary then
        return nil, "compiled code is not loaded"
    end
    return chunk, problem
end

base.table = copy("concat foreach foreachi getn insert maxn remove setn sort", table)

for name, value in next, base do
    if type(value) == "table" then
        base[name] = (stand_in(value))
    end
end

-- Strings have a metatable of their own, through which `("x"):rep(2)` finds its function.
local of_strings = getmetatable("")
of_strings.__metatable = (stand_in({ __index = base.string }))

---------------------------------------------------------------------------------------------------------------------
-- Globals of scripts, or of functions

local globals = setmetatable({}, { __index = nonexistent })
for name, value in next, base do
    globals[name] = value
end
local environment, metatable_of_environment = stand_in(globals)
globals._G = environment

local KNOWN_FLAGS = {
    ["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true, ["no-cluster"] = true,
    ["allow-cross-slot-keys"] = true,
}

-- The flags in the order they are listed; nil where one is unknown.
local function flags_of(given)
    local flags = {}
    for at = 1, #given do
        if type(given[at]) ~= "string" or not KNOWN_FLAGS[given[at]] then
            fail("unknown flag given")
        end
        flags[at] = given[at]
    end
    return flags
end

-- The name by which functions are being registered.
local called

local function add(registered, name, callback, description, flags)
    if not name:find("^[%w_]+$") then
        local what = called == "server.register_function" and "Function" or "Library"
        fail(what .. " names can only contain letters, numbers, or underscores(_) and must be at least one character long")
    end
    local entry = { name = name, description = description, flags = flags }
    if registered.callbacks[name] then
        fail("Function already exists in the library")
    end
    registered.callbacks[name] = callback
    registered.list[#registered.list + 1] = entry
end

local function register_named(registered, given)
    if type(given) ~= "table" then
        fail(
            "calling " .. called .. " with a single argument is only applicable to Lua table (representing "
                .. "named arguments)."
        )
    end
    local name, callback, description, flags
    for key, value in next, given do
        if type(key) ~= "string" then
            fail("named argument key given to " .. called .. " is not a string")
        elseif key == "function_name" then
            if type(value) ~= "string" then
                fail("function_name argument given to " .. called .. " must be a string")
            end
            name = value
        elseif key == "description" then
            if type(value) ~= "string" then
                fail("description argument given to " .. called .. " must be a string")
            end
            description = value
        elseif key == "callback" then
            if type(value) ~= "function" then
                fail("callback argument given to " .. called .. " must be a function")
            end
            callback = value
        elseif key == "flags" then
            if type(value) ~= "table" then
                fail("flags argument to " .. called .. " must be a table representing function flags")
            end
            flags = flags_of(value)
        else
            fail("unknown argument given to " .. called)
        end
    end
    if not name then
        fail(called .. " must get a function name argument")
    elseif not callback then
        fail(called .. " must get a callback argument")
    end
    add(registered, name, callback, description, flags or {})
end

local function register(registered, ...)
    local count = select("#", ...)
    if count < 1 or count > 2 then
        fail("wrong number of arguments to " .. called)
    elseif count == 1 then
        return register_named(registered, (...))
    end
    local name, callback = ...
    if type(name) ~= "string" then
        fail("first argument to " .. called .. " must be a string")
    elseif type(callback) ~= "function" then
        fail("second argument to " .. called .. " must be a function")
    end
    add(registered, name, callback, nil, {})
end

local library_globals
if kind == "function" then
    -- While a library is loaded it finds little more than the means to register its functions. Errors name them as they
    -- were called, for Redis knows one name and Valkey the other.
    local function registering_as(name)
        local registering = setmetatable({}, { __index = nonexistent })
        for constant, value in next, constants do
            registering[constant] = value
        end
        registering.log = api.log
        registering.register_function = function(...)
            called = name .. ".register_function"
            if not loading then
                fail(called .. " can only be called on FUNCTION LOAD command")
            end
            register(loading, ...)
        end
        return (stand_in(registering))
    end
    library_globals = setmetatable(
        { redis = registering_as("redis"), server = registering_as("server") },
        { __index = nonexistent }
    )
else
    function api.replicate_commands()
        return true
    end
    api.breakpoint, api.debug = native.breakpoint, native.debug
end
local guarded_api = stand_in(api)
globals.redis, globals.server = guarded_api, guarded_api

-- One environment for libraries while they are loaded and for their functions while they run.
local function look_into(visible)
    metatable_of_environment.__index = visible
end

---------------------------------------------------------------------------------------------------------------------
-- What the engine calls

local chunks = {}

-- Makes of any error a table with its text and the place in the script where it was raised.
local function describe(err)
    if native.is_stopped() then
        return err
    end
    err = as_table(err)
    if type(err) ~= "table" then
        err = { err = "ERR " .. tostring(err) }
    end
    if real_of[err] == nil then
        rawset(err, "source", nil)
        rawset(err, "line", nil)
        local source, line = native.where()
        if source then
            rawset(err, "source", source)
            rawset(err, "line", line)
        end
    end
    return err
end
globals.__redis__err__handler = describe
globals.__server__err__handler = describe

local function run_script(sha, keys, args)
    local chunk = chunks[sha]
    if not chunk then
        return nil
    end
    globals.KEYS, globals.ARGV = keys, args
    return xpcall(chunk, describe)
end

-- The functions of libraries, by the names of both.
local libraries = {}

local function run_function(library, name, keys, args)
    local f = libraries[library][name]
    return xpcall(function()
        return f(keys, args)
    end, describe)
end

local function load_library(name, chunk)
    local registered = { list = {}, callbacks = {} }
    look_into(library_globals)
    loading = registered
    local ok, err = xpcall(chunk, describe)
    loading = nil
    look_into(globals)
    if not ok then
        return false, err
    end
    libraries[name] = registered.callbacks
    return true, registered.list
end

-- Remembers a script; without one, forgets all.
local function keep(sha, chunk)
    if sha then
        chunks[sha] = chunk
    else
        chunks = {}
    end
end

-- The functions of `table` go past metatables. What they put into a stand-in is seen by no one who looks for names, and
-- is taken out here from time to time.
local function scrub()
    for guarded in next, real_of do
        local key = next(guarded)
        while key ~= nil do
            rawset(guarded, key, nil)
            key = next(guarded)
        end
    end
end

return environment, keep, run_script, run_function, load_library, scrub
